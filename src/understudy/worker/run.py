"""One run from its claim to its end: guard first, then the process, then the verdict (worker/ending.py)."""

from __future__ import annotations

from understudy.clock import MS_PER_S
from understudy.texts import t
from understudy.worker.effects import (
    AwaitRun,
    Ended,
    Failed,
    Loop,
    RunProgress,
    Spawn,
    Spawned,
    Steps,
    StopRun,
    TellGuard,
    Wait,
    WriteLog,
)
from understudy.worker.ending import (
    IDLE_RUN,
    SLOW_START,
    TIMED_OUT,
    cleaned,
    end,
    ends_ms,
    finish,
    is_dead,
    settle,
    slow_start,
    was_taken,
)
from understudy.worker.executors import Executor, Outcome, Plan
from understudy.worker.executors.fault_words import NO_DIRECTORY, OTHER
from understudy.worker.guard_policy import Rooted, Spawning
from understudy.worker.release import give_back
from understudy.worker.state import Run, WorkerState
from understudy.worker.turns import begins_by_ms, forget, pass_on, remember, start_of, turn
from understudy.worker.workspaces import is_missing

GRACE_MS = 5_000  # from TERM to KILL (docs/measured.md, Process trees: claude ends its tools in 1.5 s; 2 s is too near)
CONFIRM_MS_MAX = 30_000  # how long a claim may wait for a beat that confirms it
GUARD_MS_MAX = 10_000
LOOK_MS = 60_000
BROKEN_MS = 10_000  # until a task is given back that a defect has met before its start: the next claim meets it again
LIMIT_MS = 180_000  # until the loop counts as stopped: each look, start and end of a run takes less
STARTS_MAX = 2  # once more without the session, or after a start that came to nothing


def run_loop(state: WorkerState, run: Run) -> Loop:
    """Carry one run through; whatever happens, its slot is free afterwards.

    Nothing of it lives then, but for what cannot be killed (`is_dead`): its task has failed for good, is lost, or
    waits for the end of its lease.
    """
    state.liveness.begin(run.signal, LIMIT_MS)
    try:
        yield from _carry(state, run)
    except Exception as error:  # noqa: BLE001 - an outermost loop: a defect must not leave a process behind
        ended = yield StopRun(run.id, grace_ms=0)
        yield WriteLog("critical", "Daemon", t("daemon.run_broke", task=run.task.id), {"error": repr(error)})
        outcome = Outcome(success=False, error=f"internal: {error!r}", failure_class="internal")
        if run.has_process or ended is not None:
            yield from finish(state, run, outcome, ended)
        else:
            yield from _rest(state, run)
            yield from give_back(state, run, "not_started")
    finally:
        state.liveness.end(run.signal)
        state.runs.pop(run.id, None)
        pass_on(state, run)
        state.signals.forget(run.signal)
        for signal in ("claim", "main"):
            state.signals.raise_(signal)


def _rest(state: WorkerState, run: Run) -> Loop:
    until_ms = state.clock.mono_ms() + BROKEN_MS
    while not run.stop and (left_ms := until_ms - state.clock.mono_ms()) > 0:
        state.mark(run.signal)
        yield Wait(run.signal, left_ms)


def _carry(state: WorkerState, run: Run) -> Loop:
    executor = state.executor_for(run.task)
    if executor is None:
        yield from give_back(state, run, "no_executor")
        return
    if not (yield from _may_begin(state, run)):
        yield from give_back(state, run, "not_started")
        return
    again, stop = "", ""
    outcome: Outcome | None = None
    ended: Ended | None = None
    for nth in range(STARTS_MAX):
        if nth and (stop := (yield from _why_not_again(state, run))):
            yield from end(state, run, stop, ended)
            return
        failed = yield from _start(state, run, executor, nth, has_session=again != "session")
        if failed is not None:
            yield from settle(state, run, executor, failed, None)
            return
        stop, ended = yield from _watch(state, run)
        outcome = executor.outcome(ended or Ended(code=None), run.reading) if stop == "" else None
        again = SLOW_START if stop == SLOW_START else outcome.again if outcome else ""
        if not again or nth + 1 == STARTS_MAX or (yield from was_taken(state, run)):
            break
        if not (yield from is_dead(state, run, ended)):  # never beside what is left of it
            break
        yield from _say_again(state, run, executor, again)
    yield from remember(state, run, executor)
    if outcome is not None:
        yield from settle(state, run, executor, outcome, ended)
    else:
        yield from end(state, run, stop, ended)


def _may_begin(state: WorkerState, run: Run) -> Steps[bool]:
    """Wait for its turn, for its lease and for a guard → whether it may be started.

    It may have been stopped while the guard got it. Nothing is awaited between the last look and its start.
    """
    begin_by_ms = begins_by_ms(run)
    may_begin = (
        (yield from turn(state, run))
        and (yield from _is_ours(state, run, begin_by_ms))
        and (yield from _is_guarded(state, run, begin_by_ms))
        and not run.stop
    )
    if may_begin:
        state.places.pop(run.task.id, None)
    return may_begin


def _why_not_again(state: WorkerState, run: Run) -> Steps[str]:
    """The reason not to start it once more, "" for none: since its first start ended, all may have changed."""
    is_guarded = yield from _is_guarded(state, run, state.clock.mono_ms() + GUARD_MS_MAX)
    stop = _reason_to_stop(run, state.clock.mono_ms(), ends_ms(state, run))
    return stop or ("" if is_guarded else "drain")


def _say_again(state: WorkerState, run: Run, executor: Executor, again: str) -> Loop:
    if again == SLOW_START:
        yield WriteLog("warning", "Daemon", slow_start(run))
        return
    yield from forget(state, run, executor)
    yield WriteLog("warning", "Daemon", t("executors.session_lost", task=run.task.id))


def _is_ours(state: WorkerState, run: Run, begin_by_ms: int) -> Steps[bool]:
    """True if enough of the lease is left to start; otherwise a beat must confirm it first.

    The answer to a claim may be old (a long poll, a sleep in between): then only the hub can tell.
    """
    until_ms = min(state.clock.mono_ms() + CONFIRM_MS_MAX, begin_by_ms)
    while not run.stop:
        now_ms = state.clock.mono_ms()
        is_long = not run.is_mortal or run.deadline_ms - now_ms >= run.lease.first_ms // 3
        if is_long and not state.must_ask:
            return True
        if now_ms >= until_ms:
            return False
        state.signals.raise_("beat")
        yield Wait(run.signal, 1_000)
    return False


def _is_guarded(state: WorkerState, run: Run, begin_by_ms: int) -> Steps[bool]:
    """Tell the guard before there is a process; without a guard nothing is started, nor after the lease has ended."""
    until_ms = min(state.clock.mono_ms() + GUARD_MS_MAX, begin_by_ms)
    while not run.stop and not run.is_lease_over(state.clock.mono_ms()):
        if (yield TellGuard(spawning(run))):
            run.is_guarded = True
            return True
        if state.clock.mono_ms() >= until_ms:
            return False
        yield Wait(run.signal, 500)
    return False


def spawning(run: Run) -> Spawning:
    """A run as its guard gets it."""
    return Spawning(
        run_id=run.id,
        task_id=run.task.id,
        token=run.lease.token,
        on_loss=run.lease.on_loss,
        deadline_ms=run.deadline_ms,
        is_named=run.is_named,
    )


def _start(state: WorkerState, run: Run, executor: Executor, nth: int, *, has_session: bool) -> Steps[Outcome | None]:
    """Start its process → None, or why there is none."""
    if run.task.workspace and state.workspaces.is_root_gone():
        return _not_started(state, run, executor, Failed(f"{state.workspaces.root}: gone", NO_DIRECTORY))
    try:
        start = start_of(state, run, executor, nth, has_session=has_session)
        plan: Plan = executor.plan(run.task, run.id, start)
    except ValueError as error:
        return Outcome(success=False, error=str(error), failure_class="not_possible", failure_final=True)
    except OSError as error:
        return _unreadable(state, run, executor, str(error))
    run.started_ms = run.started_ms if run.has_process else state.clock.mono_ms()
    run.has_process = True
    run.plan, run.reading, run.heard_ms, run.killed_until_ms = plan, executor.reading(start), None, None
    spawned: Spawned | Failed = yield Spawn(run.id, plan, run.reading)
    if isinstance(spawned, Failed):
        return _not_started(state, run, executor, spawned)
    run.pid, run.birth = spawned.pid, spawned.birth
    yield TellGuard(Rooted(run.id, spawned.pid, spawned.birth))
    fields = {"executor": executor.name, "pid": spawned.pid, "token": run.lease.token}
    yield WriteLog("info", "Daemon", f"Started {run.task.id}", fields)
    return None


def _not_started(state: WorkerState, run: Run, executor: Executor, failed: Failed) -> Outcome:
    """The outcome of a failed start: a fault of this machine leaves the task untouched, a missing workspace ends it."""
    workspaces, cwd = state.workspaces, run.plan.cwd if run.plan is not None else None
    if failed.word == NO_DIRECTORY and run.task.workspace and cwd is not None and not workspaces.is_root_gone():
        if not is_missing(cwd):  # a dead mount, or one that is back by now
            return _unreadable(state, run, executor, failed.reason)
        error = t("executors.no_workspace", name=run.task.workspace, path=cwd)
        return Outcome(success=False, error=error, failure_class="not_possible", failure_final=True)
    if failed.word:
        state.start_faults[executor.name] = (
            workspaces.root if run.task.workspace and failed.word == NO_DIRECTORY else cwd
        )
    return Outcome(
        success=False,
        error=failed.reason,
        failure_class="spawn_failed",
        auth=failed.word,
        is_untouched=bool(failed.word),
    )


def _unreadable(state: WorkerState, run: Run, executor: Executor, reason: str) -> Outcome:
    """The outcome of a start in a workspace that this machine cannot look at, though it can at the others."""
    state.start_faults[executor.name] = state.workspaces.root
    outcome = Outcome(success=False, error=reason, failure_class="spawn_failed", auth=OTHER, is_untouched=True)
    return state.untouched.bounded(run.task.id, executor.name, outcome)


def _watch(state: WorkerState, run: Run) -> Steps[tuple[str, Ended | None]]:
    """Until it ends by itself ("") or must be ended: lost, cancelled, drain, timed_out, slow_start, idle."""
    limit_ms = ends_ms(state, run)
    began_ms = state.awake_ms()
    while True:
        state.mark(run.signal)
        now_ms = state.clock.mono_ms()
        silent_ms = _silence_left_ms(state, run, began_ms)
        stop = _reason_to_stop(run, now_ms, limit_ms)
        if not stop and silent_ms is not None and silent_ms <= 0:
            stop = SLOW_START if run.heard_ms is None else IDLE_RUN
        if stop:
            at_once = stop in ("lost", SLOW_START) or state.is_in_a_hurry
            ended = yield StopRun(run.id, grace_ms=0 if at_once else GRACE_MS)
            return stop, ended
        until_ms = min(limit_ms, run.deadline_ms if run.is_mortal else limit_ms, now_ms + LOOK_MS)
        until_ms = min(until_ms, now_ms + (LOOK_MS if silent_ms is None else silent_ms))
        news: Ended | RunProgress | None = yield AwaitRun(run.id, timeout_ms=max(1, until_ms - now_ms))
        if isinstance(news, Ended):
            return "", news
        if isinstance(news, RunProgress):
            run.heard_ms = state.awake_ms()
            run.progress = RunProgress(
                at=news.at,
                text=_timed(state, run, cleaned(state, news.text)) or run.progress.text,
                checkpoint=cleaned(state, news.checkpoint) or run.progress.checkpoint,
            )


def _silence_left_ms(state: WorkerState, run: Run, began_ms: int) -> int | None:
    """Milliseconds that it may still be silent; None: without limit."""
    if run.plan is None:
        return None
    limit_ms = run.plan.start_ms_max if run.heard_ms is None else run.plan.idle_ms_max
    since_ms = began_ms if run.heard_ms is None else run.heard_ms
    return None if limit_ms is None else since_ms + limit_ms - state.awake_ms()


def _reason_to_stop(run: Run, now_ms: int, limit_ms: int) -> str:
    if run.stop == "lost" or run.is_lease_over(now_ms):
        return "lost"
    if run.stop:
        return run.stop
    return TIMED_OUT if now_ms >= limit_ms else ""


def _timed(state: WorkerState, run: Run, text: str | None) -> str | None:
    """The words of a run, with how long it has run: by the clock that nobody sets."""
    return text and f"{text} · {(state.clock.mono_ms() - run.started_ms) // MS_PER_S} s"
