"""The heartbeat loop: reports that this daemon lives and what it runs, and obeys the answer."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import msgspec

from understudy.backoff import Backoff
from understudy.clock import MS_PER_S, iso
from understudy.daemon.beat_budget import BeatBudget
from understudy.daemon.directives import take_directives
from understudy.daemon.hub_unreachable import SLEPT_MS_MIN, HubAway
from understudy.texts import t
from understudy.wire.limits import CHECKPOINT_BYTES_MAX
from understudy.worker.directives import REPORTS_MAX, DirectiveOutcome, report_of
from understudy.worker.effects import (
    Abort,
    Call,
    Failed,
    HubAnswer,
    Loop,
    ResetConnections,
    Steps,
    TellGuard,
    Wait,
    WriteLog,
)
from understudy.worker.executors import RunProgress
from understudy.worker.guard_policy import Held
from understudy.worker.results import RunResult
from understudy.worker.state import (
    IDLE,
    RUNNING_NAMED_MAX,
    STOPPING,
    Run,
    WorkerState,
    guard_deadline,
    seconds,
)

HEARTBEAT = "/api/queue/heartbeat"
TIMEOUT_MS_MIN, TIMEOUT_MS_MAX = 1_000, 10_000
SAID_EVERY_MS = 60_000
LAST_BEATS_MAX = 3
PROGRESS_CHARS_MAX = 1_000
NO_LEASE_MS = 600_000  # the longest that there is: nothing is in a hurry
CONTACT_BEATS = 2  # between two accepted beats no more than so many intervals count as contact
ENDING_MS = 60_000  # how long ending a run may take (TERM, KILL, verdict)
REST_MS = 1_000  # after a beat that had no room for all that there is to say
CUT_MS = 250  # after a beat that was too large, or refused for its content: the next one says less


class Beat:
    """The content of one heartbeat, kept until its answer comes."""

    def __init__(self, state: WorkerState) -> None:
        self.sent_ms = state.clock.mono_ms()
        slept_ms = state.slept_ms()
        self.slept_ms = max(0, slept_ms - state.slept.said_ms)  # all that no accepted beat has reported
        self.has_woken = slept_ms - max(state.slept.said_ms, state.slept.heeded_ms) >= SLEPT_MS_MIN
        self.runs: tuple[Run, ...] = tuple(run for run in state.runs.values() if run.stop != "lost")
        self.progress = tuple((run, run.progress) for run in self.runs)
        running_now = {run.task.id for run in self.runs}
        waiting = (r for r in state.results.values() if r.task_id not in running_now)
        self.results: tuple[RunResult, ...] = tuple(waiting)[: max(0, RUNNING_NAMED_MAX - len(self.runs))]
        unreported = (outcome for outcome in state.outcomes.values() if not outcome.is_reported)
        self.outcomes: tuple[DirectiveOutcome, ...] = tuple(unreported)[:REPORTS_MAX]
        self.is_bare = False  # only what later beats do not repeat is said; all else waits for one that is whole
        self.left: frozenset[int] = frozenset()  # places of runs whose details had no room


def heartbeat_loop(state: WorkerState) -> Loop:
    """Beat at once, then as often as the hub asks; a beat that failed is repeated soon, as a new one."""
    failures = Backoff(250, max(500, state.duties.interval_ms // 2), state.jitter)
    refusals = Backoff(2_000, 30_000, state.jitter)
    budget = BeatBudget()
    last_beats = 0
    skew_ms = state.clock.now_ms() - state.clock.mono_ms()
    said_ms: int | None = None
    away = _away(state)
    while state.mode != IDLE:
        beat = Beat(state)
        skew_ms = yield from _wake_up(state, beat, skew_ms)
        is_last = state.mode == STOPPING
        state.seq += 1
        answer: HubAnswer | Failed = yield Call("POST", HEARTBEAT, beat_body(state, beat, budget), _timeout_ms(state))
        if isinstance(answer, HubAnswer) and answer.status == HTTPStatus.OK and answer.body.get("success"):
            failures.reset()
            refusals.reset()
            if budget.accepted(state.clock.mono_ms()):
                yield WriteLog("warning", "Heartbeat", t("daemon.beat_bare"))
            state.slept.said_ms += beat.slept_ms
            state.must_ask = False
            state.liveness.heard(state.clock.mono_ms(), CONTACT_BEATS * state.duties.interval_ms)
            state.mark("heartbeat")
            state.batches.heard()
            yield from away.heard(state.clock.mono_ms(), state.slept_ms())
            yield from _heed(state, beat, answer.body)
            said_ms = yield from _say_sent(state, said_ms)
            if is_last:
                break
            yield Wait("beat", _pause_ms(state, beat, answer.body))
            continue
        last_beats += is_last
        if last_beats >= LAST_BEATS_MAX:
            break
        yield from _say_failed(state, answer)
        yield from away.missed(state.clock.mono_ms(), state.slept_ms())
        if budget.cut(answer, state.clock.mono_ms()):
            yield Wait("beat", CUT_MS)
        elif state.mode != IDLE:
            is_refused = isinstance(answer, HubAnswer) and answer.status < HTTPStatus.INTERNAL_SERVER_ERROR
            pause_ms = refusals.next_ms() if is_refused else failures.next_ms()
            yield Wait("beat", min(pause_ms, max(100, _shortest_lease_ms(state) // 15)))
    state.has_stopped_beating = True
    state.signals.raise_("main")


def _away(state: WorkerState) -> HubAway:
    after_ms, name = state.duties.hub_away_ms, state.identity.daemon_id
    return HubAway(after_ms, name, state.clock.mono_ms(), state.slept_ms(), alarms=state.open_alarms)


def beat_body(state: WorkerState, beat: Beat, budget: BeatBudget) -> dict[str, Any]:
    """All that a beat says (docs/contract.md, section 4) within its budget; each sending has its own `seq`."""
    body: dict[str, Any] = {
        "workerId": state.identity.worker_id,
        "daemonId": state.identity.daemon_id,
        "machineId": state.identity.machine_id,
        "bootId": state.identity.boot_id,
        "seq": state.seq,
        "intervalSec": seconds(state.duties.interval_ms),
        "version": state.identity.version,
        "running": [
            *(_named(run, progress) | _quiet(state, run, progress) for run, progress in beat.progress),
            *(_named_result(r) for r in beat.results),
        ],
        "capacity": state.duties.capacity,
        "state": state.mode,
    }
    if state.mode == STOPPING and state.planned_for_ms is not None:
        body["plannedForSec"] = seconds(state.planned_for_ms)
    body |= _said_once(state, beat)
    if budget.is_bare:
        beat.is_bare, beat.outcomes = True, ()
        return body
    body |= {"loops": state.liveness.report(), "provides": list(state.provides)}
    if logins := state.logins():
        body["auth"] = logins
    if beat.outcomes:
        body["directives"] = [report_of(outcome) for outcome in beat.outcomes]
    beat.left = budget.fitted(body, _details(beat))
    return body


def _said_once(state: WorkerState, beat: Beat) -> dict[str, Any]:
    """Numbers that no beat repeats once one was accepted, so each beat has them, a bare one too."""
    said: dict[str, Any] = {}
    if beat.slept_ms >= SLEPT_MS_MIN:
        said["sleptSec"] = seconds(beat.slept_ms)
    if not state.is_known and state.starts_last_hour:
        said["startsLastHour"] = state.starts_last_hour
    return said


def _details(beat: Beat) -> list[tuple[int, dict[str, Any]]]:
    """The long details by the index of their run, those first that were reported longest ago."""
    places = sorted(range(len(beat.progress)), key=lambda place: beat.progress[place][0].reported.at)
    return [(place, _detail(*beat.progress[place])) for place in places]


def _quiet(state: WorkerState, run: Run, progress: RunProgress) -> dict[str, Any]:
    """The silence of the run, and the limit after which it should have been killed."""
    idle_ms_max = run.plan.idle_ms_max if run.plan is not None else None
    if progress is not run.quiet[0]:
        run.quiet = (progress, state.liveness.contact_ms)
    if idle_ms_max is None:
        return {}
    idle_ms = state.liveness.contact_ms - run.quiet[1]
    return {"idleSec": seconds(idle_ms), "idleLimitSec": seconds(idle_ms_max + ENDING_MS)}


def _named(run: Run, progress: RunProgress) -> dict[str, Any]:
    return {
        "taskId": run.task.id,
        "token": run.lease.token,
        "progressAt": iso(progress.at),
    }


def _detail(run: Run, progress: RunProgress) -> dict[str, Any]:
    """A long detail, reported once: a checkpoint may have 64 KiB, a heartbeat 1 MiB."""
    said: dict[str, Any] = {}
    if progress.text is not None and progress.text != run.reported.text:
        said["progress"] = progress.text[:PROGRESS_CHARS_MAX]
    checkpoint = progress.checkpoint
    if checkpoint is not None and checkpoint != run.reported.checkpoint and _fits(checkpoint):
        said["checkpoint"] = checkpoint
    return said


def _fits(checkpoint: str) -> bool:
    """True if the hub takes it: it counts the bytes of the JSON, where one character may have six."""
    return len(msgspec.json.encode(checkpoint)) <= CHECKPOINT_BYTES_MAX


def _named_result(result: RunResult) -> dict[str, Any]:
    return {"taskId": result.task_id, "token": result.token, "progressAt": iso(result.finished_at)}


def _heed(state: WorkerState, beat: Beat, body: dict[str, Any]) -> Loop:
    """Renewed, lost, cancelled: only runs that this very beat named are meant."""
    lost, cancel = _ids(body.get("lost")), _ids(body.get("cancel"))
    if not state.is_known:
        state.is_known = True
        for signal in ("claim", "register", "directives"):
            state.signals.raise_(signal)
    take_directives(state, body.get("directives"), beat.outcomes)
    renewed = []
    for place, (run, progress) in enumerate(beat.progress):
        if run.task.id in lost:
            state.stop_run(run, "lost")
            continue
        run.is_named = True
        if place not in beat.left and not beat.is_bare:
            run.reported = progress
        run.deadline_ms = max(run.deadline_ms, guard_deadline(beat.sent_ms, run.lease.duration_ms))
        renewed.append(run)
        if run.id in state.runs:
            state.signals.raise_(run.signal)
        if run.task.id in cancel:
            state.stop_run(run, "cancelled")
    for run in renewed:
        yield TellGuard(Held(run.id, run.deadline_ms))


def _ids(value: Any) -> frozenset[str]:
    return frozenset(item for item in value if isinstance(item, str)) if isinstance(value, list) else frozenset()


def _pause_ms(state: WorkerState, beat: Beat, body: dict[str, Any]) -> int:
    """Until the next beat: as the hub says, never more than a third of the shortest lease, and from its sending."""
    asked = body.get("nextInSec")
    asked_ms = asked * MS_PER_S if isinstance(asked, int | float) and asked > 0 else state.duties.interval_ms
    pause_ms = int(min(asked_ms, state.duties.interval_ms, _shortest_lease_ms(state) // 3))
    pause_ms = min(pause_ms, REST_MS) if beat.left else pause_ms
    return max(50, beat.sent_ms + pause_ms - state.clock.mono_ms())


def _timeout_ms(state: WorkerState) -> int:
    """A sixth of the shortest lease, so that a silent line leaves time for several tries."""
    return min(max(_shortest_lease_ms(state) // 6, TIMEOUT_MS_MIN), TIMEOUT_MS_MAX)


def _shortest_lease_ms(state: WorkerState) -> int:
    return min((run.lease.first_ms for run in state.runs.values()), default=NO_LEASE_MS)


def _wake_up(state: WorkerState, beat: Beat, skew_ms: int) -> Steps[int]:
    """After a sleep or a jump of the wall clock kept connections are dead → wall minus elapsed, now."""
    now_skew_ms = state.clock.now_ms() - state.clock.mono_ms()
    if beat.has_woken:
        state.slept.heeded_ms = state.slept.said_ms + beat.slept_ms
        yield WriteLog("info", "Daemon", "Machine slept", {"sleptSec": seconds(beat.slept_ms)})
        state.must_ask = True
        yield ResetConnections()
        yield Abort("claim")  # its connection died meanwhile, and would not say so for long
    elif abs(now_skew_ms - skew_ms) >= SLEPT_MS_MIN:
        yield WriteLog("warning", "Daemon", "Wall clock jumped", {"bySec": seconds(now_skew_ms - skew_ms)})
        yield ResetConnections()
    return now_skew_ms


def _say_sent(state: WorkerState, said_ms: int | None) -> Steps[int | None]:
    """`[Heartbeat] Sent successfully`: INFO once a minute, each at DEBUG → when it was last said aloud."""
    now_ms = state.clock.mono_ms()
    is_loud = said_ms is None or now_ms - said_ms >= SAID_EVERY_MS
    level = "info" if is_loud else "debug"
    yield WriteLog(level, "Heartbeat", "Sent successfully", {"seq": state.seq} if level == "debug" else {})
    tasks = ", ".join(run.task.id for run in state.runs.values())
    yield WriteLog(level, "Heartbeat", f"Processing: {tasks}" if tasks else "Waiting")
    return now_ms if is_loud else said_ms


def _say_failed(state: WorkerState, answer: HubAnswer | Failed) -> Loop:
    """Log the failure and its fix; runs go on, because only the hub or a deadline ends them."""
    if isinstance(answer, Failed):
        yield WriteLog("warning", "Heartbeat", t("daemon.beat_unanswered"), {"reason": answer.reason})
        return
    code = str(answer.body.get("code", ""))
    if code in ("superseded", "id_taken"):
        state.stand_down(code)
    elif answer.status == HTTPStatus.UNAUTHORIZED:
        yield WriteLog("critical", "Heartbeat", t("daemon.unauthorized"))
    elif answer.status == HTTPStatus.FORBIDDEN:
        yield WriteLog("critical", "Heartbeat", t("daemon.forbidden"), {"code": code})
    else:
        error = str(answer.body.get("error", ""))[:200]
        yield WriteLog("warning", "Heartbeat", t("daemon.beat_refused"), {"status": answer.status, "error": error})
