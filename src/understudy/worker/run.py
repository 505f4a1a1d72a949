"""One run from its claim to its result: guard first, then the process, then the verdict, then the spool."""

from __future__ import annotations

from understudy.texts import t
from understudy.worker.effects import (
    AskGuard,
    AwaitRun,
    Ended,
    Failed,
    Keep,
    Loop,
    Progress,
    Result,
    Say,
    Shelve,
    Spawn,
    Spawned,
    Steps,
    StopRun,
    TellGuard,
    Wait,
)
from understudy.worker.executors import Executor, Outcome, Plan
from understudy.worker.guard_policy import Done, Lost, Rooted, Spawning
from understudy.worker.release import give_back
from understudy.worker.state import Run, WorkerState

GRACE_MS = 5_000  # facts/assistants b.3: claude needs 1.5 s to take its tools along; 2 s is too near
CONFIRM_MS_MAX = 30_000  # how long a claim may wait for a beat that confirms it
GUARD_MS_MAX = 10_000
LOOK_MS = 60_000
KILL_AGAIN_MS = 1_000
RAN_AWAY = "output_too_large"


def run_loop(state: WorkerState, run: Run) -> Loop:
    """Carry one run through; whatever happens, nothing of it lives afterwards and its slot is free."""
    try:
        yield from _carry(state, run)
    except Exception as error:  # noqa: BLE001 - an outermost loop: a defect must not leave a process behind
        ended = yield StopRun(run.id, grace_ms=0)
        yield Say("critical", "Daemon", t("daemon.run_broke", task=run.task.id), {"error": repr(error)})
        outcome = Outcome(success=False, error=f"internal: {error!r}", failure_class="internal")
        if run.has_process or ended is not None:
            yield from _finish(state, run, outcome)
        else:
            yield from give_back(state, run, "not_started")
    finally:
        state.runs.pop(run.id, None)
        for signal in ("claim", "main"):
            state.signals.raise_(signal)


def _carry(state: WorkerState, run: Run) -> Loop:
    if not (yield from _is_ours(state, run)) or not (yield from _is_guarded(state, run)):
        yield from give_back(state, run, "not_started")
        return
    executor = state.executor_for(run.task)
    if executor is None:
        yield from give_back(state, run, "no_executor")
        return
    started = yield from _start(state, run, executor)
    if isinstance(started, Outcome):
        yield from _finish(state, run, started)
        return
    stop, ended = yield from _watch(state, run)
    if stop == "":
        yield from _settle(state, run, executor, ended)
    else:
        yield from _end(state, run, stop, ended)


def _is_ours(state: WorkerState, run: Run) -> Steps[bool]:
    """Whether enough of the lease is left to start; otherwise a beat must confirm it first.

    The answer to a claim may be old (a long poll, a sleep in between): then only the hub can tell.
    """
    until_ms = state.clock.mono_ms() + CONFIRM_MS_MAX
    while not run.stop:
        now_ms = state.clock.mono_ms()
        if not run.is_mortal or run.deadline_ms - now_ms >= run.lease.first_ms // 3:
            return True
        if now_ms >= until_ms:
            return False
        state.signals.raise_("beat")
        yield Wait(run.signal, 1_000)
    return False


def _is_guarded(state: WorkerState, run: Run) -> Steps[bool]:
    """Tell the guard before there is a process; without a guard nothing is started."""
    until_ms = state.clock.mono_ms() + GUARD_MS_MAX
    while not run.stop:
        if (yield TellGuard(spawning(run))):
            run.is_guarded = True
            return True
        if state.clock.mono_ms() >= until_ms:
            return False
        yield Wait(run.signal, 500)
    return False


def spawning(run: Run) -> Spawning:
    """A run as its guard is told of it."""
    return Spawning(
        run_id=run.id,
        task_id=run.task.id,
        token=run.lease.token,
        on_loss=run.lease.on_loss,
        deadline_ms=run.deadline_ms,
        is_named=run.is_named,
    )


def _start(state: WorkerState, run: Run, executor: Executor) -> Steps[Outcome | None]:
    try:
        plan: Plan = executor.plan(run.task, run.id)
    except ValueError as error:
        return Outcome(success=False, error=str(error), failure_class="not_possible", failure_final=True)
    run.started_ms = state.clock.mono_ms()
    run.has_process = True
    spawned: Spawned | Failed = yield Spawn(run.id, plan, executor.reading())
    if isinstance(spawned, Failed):
        return Outcome(success=False, error=spawned.reason, failure_class="spawn_failed")
    run.pid, run.birth = spawned.pid, spawned.birth
    yield TellGuard(Rooted(run.id, spawned.pid, spawned.birth))
    fields = {"executor": executor.name, "pid": spawned.pid, "token": run.lease.token}
    yield Say("info", "Daemon", f"Started {run.task.id}", fields)
    return None


def _watch(state: WorkerState, run: Run) -> Steps[tuple[str, Ended | None]]:
    """Until it ends by itself ("") or must be ended: lost, cancelled, drain, timed_out."""
    limit_ms = run.started_ms + run.task.timeout_sec * 1000
    while True:
        now_ms = state.clock.mono_ms()
        stop = _reason_to_stop(run, now_ms, limit_ms)
        if stop:
            at_once = stop == "lost" or state.is_in_a_hurry
            ended = yield StopRun(run.id, grace_ms=0 if at_once else GRACE_MS)
            return stop, ended
        until_ms = min(limit_ms, run.deadline_ms if run.is_mortal else limit_ms, now_ms + LOOK_MS)
        news: Ended | Progress | None = yield AwaitRun(run.id, timeout_ms=max(1, until_ms - now_ms))
        if isinstance(news, Ended):
            return "", news
        if isinstance(news, Progress):
            run.progress = Progress(
                at=news.at,
                text=news.text or run.progress.text,
                checkpoint=news.checkpoint or run.progress.checkpoint,
            )


def _reason_to_stop(run: Run, now_ms: int, limit_ms: int) -> str:
    if run.stop == "lost" or run.is_lease_over(now_ms):
        return "lost"
    if run.stop:
        return run.stop
    return "timed_out" if now_ms >= limit_ms else ""


def _settle(state: WorkerState, run: Run, executor: Executor, ended: Ended | None) -> Loop:
    """It ended by itself, or somebody killed it: the guard does so when the lease is over."""
    outcome = executor.outcome(ended or Ended(code=None))
    if ended is not None and ended.ran_away:
        outcome = Outcome(success=False, output=outcome.output, error=t("daemon.ran_away"), failure_class=RAN_AWAY)
    if not outcome.success and (yield from _was_taken(state, run)):
        yield from _end(state, run, "lost", ended)
        return
    yield from _finish(state, run, outcome)


def _was_taken(state: WorkerState, run: Run) -> Steps[bool]:
    """Whether it failed only because its lease was over: that is a loss, no failure of the task.

    A beat that is accepted right after (the daemon was stopped, say) does not bring it back to life.
    """
    if run.stop == "lost" or run.is_lease_over(state.clock.mono_ms()):
        return True
    return bool((yield AskGuard(run.id)))


def _end(state: WorkerState, run: Run, stop: str, ended: Ended | None) -> Loop:
    """It was ended on purpose: what that means depends on why."""
    said = ended.stdout.decode("utf-8", "replace") if ended is not None and ended.stdout else None
    if stop == "lost":
        yield TellGuard(Lost(run.id))
        yield Shelve(_result(state, run, Outcome(success=False, output=said, error="lost")), "lost")
        yield TellGuard(Done(run.id))
        yield Say("warning", "Daemon", t("daemon.run_lost", task=run.task.id), {"token": run.lease.token})
    elif stop == "drain":
        if (yield from _is_dead(state, run, ended)):
            yield from give_back(state, run, "drain")
    else:
        error = f"timed out after {run.task.timeout_sec} s" if stop == "timed_out" else "cancelled"
        yield from _finish(state, run, Outcome(success=False, output=said, error=error, failure_class=stop))


def _is_dead(state: WorkerState, run: Run, ended: Ended | None) -> Steps[bool]:
    """Whether its lease may be given back. What cannot be killed is named in each beat, and killed again.

    If it outlives this daemon, its guard tries once more, and leaves no will for it: its lease ends by itself.
    """
    if ended is not None and ended.survivors:
        fields = {"left": ended.survivors}
        yield Say("critical", "Daemon", t("daemon.run_survived", task=run.task.id), fields)
    while ended is not None and ended.survivors:
        if state.is_stopped:
            return False
        yield Wait(run.signal, KILL_AGAIN_MS)
        ended = yield StopRun(run.id, grace_ms=0)
    return True


def _finish(state: WorkerState, run: Run, outcome: Outcome) -> Loop:
    """Spool the result, then let the guard forget the run: in between, either of them vouches for it."""
    result = _result(state, run, outcome)
    kept: Failed | None = yield Keep(result)
    state.results[run.id] = result
    state.runs.pop(run.id, None)
    if kept is not None:
        state.unkept.add(run.id)
    for signal in ("report", "claim"):
        state.signals.raise_(signal)
    if kept is None:
        yield TellGuard(Done(run.id))
    else:
        yield Say("critical", "Daemon", t("daemon.spool_failed"), {"reason": kept.reason})
    fields = {
        "success": outcome.success,
        "class": outcome.failure_class or None,
        "error": (outcome.error or "")[:200] or None,
    }
    yield Say("info", "Daemon", f"Finished {run.task.id}", fields)


def _result(state: WorkerState, run: Run, outcome: Outcome) -> Result:
    ran_ms = state.clock.mono_ms() - run.started_ms if run.has_process else 0
    return Result(
        name=run.id,
        task_id=run.task.id,
        token=run.lease.token,
        success=outcome.success,
        finished_at=state.clock.now_ms(),
        duration_ms=max(0, ran_ms),
        output=outcome.output,
        error=outcome.error,
        failure_class=outcome.failure_class,
        failure_final=outcome.failure_final,
        usage=outcome.usage,
    )
