"""The beginning of a run: its turn, its directory and its session."""

from __future__ import annotations

import msgspec

from understudy.clock import MS_PER_S
from understudy.texts import t
from understudy.wire.foreign_json import parsed
from understudy.worker.effects import Loop, SaveSessions, Steps, Wait
from understudy.worker.executors import AssistantSession, Executor, RunProgress, Start, TaskToRun
from understudy.worker.executors.assistant import Checkpoint, is_session
from understudy.worker.executors.prompt import conversation_of
from understudy.worker.state import Run, WorkerState

# At the hub the time limit of a run is counted from its claim, and a minute more is given (UNDERSTUDY_OVERTIME). So
# much of it may pass before the start; what passes beyond that counts to the limit. A run that uses all of its limit is
# dead before its task is another's.
FREE_MS = 40_000
SHARE = 6  # of its limit, which it may wait beyond that
WAIT_MS_MAX = 600_000
LOOK_MS = 5_000
PLACES_MAX = 1_000
SESSIONS_MAX = 1_000


def begins_by_ms(run: Run) -> int:
    """The instant (mono) by which it must begin; otherwise it is given back."""
    return run.counted_ms + min(FREE_MS + run.task.timeout_sec * MS_PER_S // SHARE, WAIT_MS_MAX)


def ends_by_ms(run: Run) -> int:
    """The instant (mono) by which it must be ended: a moment later its task may be another's."""
    return run.counted_ms + run.task.timeout_sec * MS_PER_S + FREE_MS


def line_up(state: WorkerState, run: Run) -> None:
    """Give it a place behind all others, or the one that its task had here when it was given back."""
    if run.task.id in state.places:
        return
    state.places_nth += 1
    state.places[run.task.id] = state.places_nth
    if len(state.places) > PLACES_MAX:
        del state.places[next(iter(state.places))]


def turn(state: WorkerState, run: Run) -> Steps[bool]:
    """Wait until no run that came before has the same workspace or conversation → whether it is our turn."""
    while not run.stop and (left_ms := begins_by_ms(run) - state.clock.mono_ms()) > 0:
        if _is_first(state, run):
            run.has_turn = True
            return True
        state.mark(run.signal)
        run.progress = RunProgress(at=state.clock.now_ms(), text=t("executors.waits"))
        yield Wait(run.signal, min(left_ms, LOOK_MS))
    return False


def _is_first(state: WorkerState, run: Run) -> bool:
    mine = state.turns(run.task)
    if not mine:
        return True
    rivals = [other for other in state.runs.values() if other is run or mine & state.turns(other.task)]
    if any(other.has_turn for other in rivals):
        return False
    return min(rivals, key=lambda other: state.places.get(other.task.id, 0)) is run


def pass_on(state: WorkerState, run: Run) -> None:
    """It is over: wake those that wait for their turn."""
    mine = state.turns(run.task)
    for other in state.runs.values():
        if mine and mine & state.turns(other.task):
            state.signals.raise_(other.signal)


def start_of(state: WorkerState, run: Run, executor: Executor, nth: int, *, has_session: bool) -> Start:
    """The circumstances of this start; ValueError for a workspace that is not here."""
    machine = state.identity.machine_id
    left = _left_behind(run.task, executor)
    session = None
    if has_session and left.session and left.machine == machine:
        session = AssistantSession(left.session, left.counters)
    elif has_session:
        session = state.sessions.get(_key(run.task, executor))
    if session is not None and not is_session(session.id):
        session = None
    cwd = state.workspaces.directory(run.task, executor.name)
    return Start(session=session, cwd=cwd, machine=machine, nth=nth, did=left.did)


def remember(state: WorkerState, run: Run, executor: Executor) -> Loop:
    """Keep the session of its conversation, however the run ended; the ones used longest ago give way."""
    session = run.reading.session() if run.reading is not None else None
    key = _key(run.task, executor)
    if session is None or not key:
        return
    state.sessions.pop(key, None)
    state.sessions[key] = msgspec.structs.replace(session, used_at=state.clock.now_ms())
    for oldest in list(state.sessions)[:-SESSIONS_MAX]:
        del state.sessions[oldest]
    yield _saved(state)


def _saved(state: WorkerState) -> SaveSessions:
    state.sessions_nth += 1
    return SaveSessions(dict(state.sessions), state.sessions_nth)


def forget(state: WorkerState, run: Run, executor: Executor) -> Loop:
    """The assistant does not know the session any more."""
    if state.sessions.pop(_key(run.task, executor), None) is not None:
        yield _saved(state)


def _key(task: TaskToRun, executor: Executor) -> str:
    conversation = conversation_of(task)
    return f"{executor.name} {conversation}" if conversation else ""


def _left_behind(task: TaskToRun, executor: Executor) -> Checkpoint:
    """The checkpoint of the attempt before, as far as this executor understands it."""
    nothing = Checkpoint(executor.name)
    try:
        if isinstance(task.checkpoint, str):
            found = parsed(task.checkpoint.encode("utf-8", "surrogatepass"), Checkpoint)
        else:
            found = msgspec.convert(task.checkpoint, Checkpoint)
    except (msgspec.MsgspecError, ValueError):
        return nothing
    return found if found.executor == executor.name else nothing
