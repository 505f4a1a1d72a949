"""The end of a run: what it means, and what becomes of its result and of its lease.

A run that fails may be none of its task's failures: its lease was over (it is lost), or a signal ended it while its
machine was being stopped. Its lease is given back then, as a loss: it may have been its own task that stopped the
machine, and would do so in each life, so that must end at `losses_max`. And a failure may be tried again, but never
beside what is left of the run: it is reported when nothing of the run lives, or, where something cannot be killed, as a
failure for good.
"""

from __future__ import annotations

import msgspec

from understudy.backoff import Backoff
from understudy.clock import MS_PER_S
from understudy.texts import t
from understudy.worker.auth import say_auth
from understudy.worker.effects import (
    ArchiveResult,
    AskGuard,
    Ended,
    Failed,
    Loop,
    RunResult,
    SpoolResult,
    Steps,
    StopRun,
    TellGuard,
    Wait,
    WriteLog,
)
from understudy.worker.executors import OK, Executor, Outcome
from understudy.worker.guard_policy import Lost, RunDone
from understudy.worker.release import give_back
from understudy.worker.state import Run, WorkerState, seconds
from understudy.worker.turns import ends_by_ms

KILL_AGAIN_MS, KILL_AGAIN_MS_MAX = 1_000, 30_000
KILLED_MS = 60_000  # how long KILL is repeated before the verdict
KILLED_LATE_MS = 10_000  # how long beyond the end of its limit: the hub ends it itself 10 s later (turns.FREE_MS)
GONE = "daemon_gone"  # the hub counts a release for this reason as a loss
OWN_SIGNAL_MS = 500  # a system that stops sends its signal to runs and daemon at once; ours may be read a little later
RAN_AWAY = "output_too_large"
SLOW_START, IDLE_RUN, TIMED_OUT = "slow_start", "idle", "timed_out"
CANCELLED = "cancelled"


def settle(state: WorkerState, run: Run, executor: Executor, outcome: Outcome, ended: Ended | None) -> Loop:
    """It ended by itself, or somebody killed it: the guard does so when the lease is over."""
    if ended is not None and ended.ran_away:
        outcome = Outcome(success=False, output=outcome.output, error=t("daemon.ran_away"), failure_class=RAN_AWAY)
    why = "" if outcome.success else (yield from _why_none_of_the_tasks(state, run, outcome, ended))
    if why:
        yield from end(state, run, why, ended)
        return
    if outcome.is_untouched and ended is not None:
        outcome = state.untouched.bounded(run.task.id, executor.name, outcome)
    yield from _heed_auth(state, executor, outcome)
    if outcome.is_untouched and (yield from is_dead(state, run, ended)):
        message = t("executors.given_back", task=run.task.id, reason=outcome.error)
        yield WriteLog("warning", "Daemon", message)
        yield from give_back(state, run, "not_started")
    else:
        yield from finish(state, run, outcome, ended)


def _why_none_of_the_tasks(state: WorkerState, run: Run, outcome: Outcome, ended: Ended | None) -> Steps[str]:
    """The reason for which a failure is none of the task: `lost`, `drain` or GONE; "" for one that is."""
    if (yield from was_taken(state, run)):
        return "lost"
    if outcome.failure_final or ended is None or not ended.was_stopped:
        return ""
    return (yield from _why_stopped(state, run))


def _why_stopped(state: WorkerState, run: Run) -> Steps[str]:
    """`drain` if this daemon has drained it; GONE if it is being stopped, or is asked to in the next moment; or ""."""
    until_ms = state.clock.mono_ms() + OWN_SIGNAL_MS
    while not (state.is_stop_asked or run.stop == "drain"):
        left_ms = until_ms - state.clock.mono_ms()
        if left_ms <= 0:
            return ""
        yield Wait(run.signal, min(left_ms, OWN_SIGNAL_MS // 10))
    return "drain" if run.stop == "drain" else GONE


def _heed_auth(state: WorkerState, executor: Executor, outcome: Outcome) -> Loop:
    """Note what a run shows about the login: it counts for more than any probe."""
    if outcome.success:
        state.untouched.note_success(executor.name)
    is_shown = executor.probe() is not None or executor.name in state.start_faults
    word = outcome.auth or (OK if outcome.success and is_shown else "")
    if not word:
        return
    before = state.auth.get(executor.name, "")
    state.set_auth(executor.name, word, is_shown_by_run=True)
    if word != before:
        yield from say_auth(executor.name, word, before)


def was_taken(state: WorkerState, run: Run) -> Steps[bool]:
    """True if it failed only because its lease was over: that is a loss, no failure of the task.

    A beat that is accepted right after (the daemon was stopped, say) does not bring it back to life.
    """
    if run.stop == "lost" or run.is_lease_over(state.clock.mono_ms()):
        return True
    return bool((yield AskGuard(run.id)))


def end(state: WorkerState, run: Run, stop: str, ended: Ended | None) -> Loop:
    """It was ended on purpose: what that means depends on why."""
    said = run.reading.said(ended) if run.reading is not None and ended is not None else None
    if stop == "lost":
        yield TellGuard(Lost(run.id))
        yield ArchiveResult(_result(state, run, Outcome(success=False, output=said, error="lost")), "lost")
        yield TellGuard(RunDone(run.id))
        yield WriteLog("warning", "Daemon", t("daemon.run_lost", task=run.task.id), {"token": run.lease.token})
    elif stop in ("drain", GONE):
        if (yield from is_dead(state, run, ended)):
            yield from give_back(state, run, stop)
        else:
            outcome = Outcome(success=False, output=said, error=stop, failure_class="interrupted")
            yield from _with_survivors(state, run, outcome, ended)
    else:
        usage = run.reading.usage() if run.reading is not None else None
        error, name = _why(state, run, stop)
        outcome = Outcome(success=False, output=said, error=error, failure_class=name, usage=usage)
        yield from finish(state, run, outcome, ended)


def _why(state: WorkerState, run: Run, stop: str) -> tuple[str, str]:
    """(sentence, failure class) for a run that was ended, by the reason why it was."""
    if stop == TIMED_OUT:
        return _timed_out(state, run), TIMED_OUT
    if stop == IDLE_RUN:
        idle_ms = run.plan.idle_ms_max if run.plan is not None else 0
        return t("executors.idle", seconds=seconds(idle_ms or 0)), TIMED_OUT
    if stop == SLOW_START:
        return slow_start(run), "no_output"
    return stop, stop


def _timed_out(state: WorkerState, run: Run) -> str:
    limit_ms, ran_ms = longest_ms(state, run), ends_ms(state, run) - run.started_ms
    if ran_ms >= limit_ms:
        return t("executors.timed_out", seconds=limit_ms // MS_PER_S)
    waited_ms = run.started_ms - run.counted_ms
    return t("executors.timed_out_waited", seconds=round(ran_ms / MS_PER_S), waited=round(waited_ms / MS_PER_S))


def slow_start(run: Run) -> str:
    """The sentence about a run that gave no sign of life in time."""
    start_ms = run.plan.start_ms_max if run.plan is not None else 0
    return t("executors.slow_start", task=run.task.id, seconds=seconds(start_ms or 0))


def longest_ms(state: WorkerState, run: Run) -> int:
    """The time that it may run: its task's limit, or the owner's where that is shorter."""
    asked_ms = run.task.timeout_sec * MS_PER_S
    return min(asked_ms, state.duties.run_ms_max) if state.duties.run_ms_max else asked_ms


def ends_ms(state: WorkerState, run: Run) -> int:
    """The instant (mono) at which it is ended, if it has not ended before."""
    return min(run.started_ms + longest_ms(state, run), ends_by_ms(run))


def is_dead(state: WorkerState, run: Run, ended: Ended | None) -> Steps[bool]:
    """True once nothing of it lives; False if it is lost before, this daemon ends, or something cannot be killed.

    Until then it is named in each beat, and killed again, ever more rarely. If it outlives this daemon, its guard tries
    once more, and leaves no will for it: its lease ends by itself.
    """
    if ended is None or not ended.survivors:
        return True
    if run.killed_until_ms is None:
        run.killed_until_ms = min(state.clock.mono_ms() + KILLED_MS, ends_by_ms(run) + KILLED_LATE_MS)
        fields = {"left": ended.survivors}
        yield WriteLog("critical", "Daemon", t("daemon.run_survived", task=run.task.id), fields)
    pauses = Backoff(KILL_AGAIN_MS, KILL_AGAIN_MS_MAX, state.jitter)
    left_ms = run.killed_until_ms - state.clock.mono_ms()
    while not (state.is_stopped or run.stop == "lost"):
        state.mark(run.signal)
        yield Wait(run.signal, min(pauses.next_ms(), max(left_ms, KILL_AGAIN_MS)))
        ended = yield StopRun(run.id, grace_ms=0)
        if ended is None or not ended.survivors:
            return True
        left_ms = run.killed_until_ms - state.clock.mono_ms()
        if left_ms <= 0:
            break
    return False


def finish(state: WorkerState, run: Run, outcome: Outcome, ended: Ended | None) -> Loop:
    """Report what it came to; a failure that may be tried again waits until nothing of this try lives."""
    is_last = outcome.success or outcome.failure_final or outcome.failure_class == CANCELLED
    if is_last or (yield from is_dead(state, run, ended)):
        yield from _spool(state, run, outcome)
    else:
        yield from _with_survivors(state, run, outcome, ended)


def _with_survivors(state: WorkerState, run: Run, outcome: Outcome, ended: Ended | None) -> Loop:
    """Something of it lives: it is lost, it ends with this daemon, or it has failed for good and its slot is free."""
    if run.stop == "lost":
        yield from end(state, run, "lost", ended)
    elif not state.is_stopped:
        error = t("executors.survived", error=outcome.error or outcome.failure_class)
        yield from _spool(state, run, msgspec.structs.replace(outcome, error=error, failure_final=True))


def _spool(state: WorkerState, run: Run, outcome: Outcome) -> Loop:
    """Spool the result, then let the guard forget the run: at every moment one of them is responsible for it."""
    result = _result(state, run, outcome)
    kept: Failed | None = yield SpoolResult(result)
    state.results[run.id] = result
    state.runs.pop(run.id, None)
    if kept is not None:
        state.unkept.add(run.id)
    for name in ("report", "claim"):
        state.signals.raise_(name)
    if kept is None:
        yield TellGuard(RunDone(run.id))
    else:
        yield WriteLog("critical", "Daemon", t("daemon.spool_failed"), {"reason": kept.reason})
    fields = {
        "success": outcome.success,
        "class": outcome.failure_class or None,
        "error": (result.error or "")[:200] or None,
    }
    yield WriteLog("info", "Daemon", f"Finished {run.task.id}", fields)


def _result(state: WorkerState, run: Run, outcome: Outcome) -> RunResult:
    ran_ms = state.clock.mono_ms() - run.started_ms if run.has_process else 0
    return RunResult(
        name=run.id,
        task_id=run.task.id,
        token=run.lease.token,
        success=outcome.success,
        finished_at=state.clock.now_ms(),
        duration_ms=max(0, ran_ms),
        output=cleaned(state, outcome.output),
        error=cleaned(state, outcome.error),
        failure_class=outcome.failure_class,
        failure_final=outcome.failure_final,
        usage=outcome.usage,
    )


def cleaned(state: WorkerState, text: str | None) -> str | None:
    """Without secrets. Whole texts only: a secret that was cut in two is not recognised."""
    return text and state.redactor.clean(text)
