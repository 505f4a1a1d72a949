"""The claim loop: asks for work only while there is room for it, and never starts what may not be ours."""

from __future__ import annotations

from functools import partial
from http import HTTPStatus
from typing import Any

import msgspec

from understudy.backoff import Backoff
from understudy.clock import MS_PER_S, parse_iso
from understudy.texts import t
from understudy.wire.limits import INT_MAX, is_id
from understudy.worker.auth import no_start
from understudy.worker.effects import Call, Failed, Fork, HubAnswer, Loop, Steps, Wait, WriteLog
from understudy.worker.executors import TaskToRun
from understudy.worker.executors.fault_words import NO_PROCESSES
from understudy.worker.foreign_hub import ForeignHub, lacks_token, release_entry
from understudy.worker.release import give_back
from understudy.worker.run import run_loop
from understudy.worker.state import IDLE, RUNNING, STOPPING, Lease, Run, WorkerState, seconds
from understudy.worker.turns import FREE_MS, line_up, pass_on

CLAIM = "/api/queue/claim"
ANSWER_SLACK_MS = 10_000  # beyond the wait that the hub was asked for
FULL_LOOK_MS = 5_000  # a full or waiting daemon looks this often by itself; signals wake it earlier
FAILED_PAUSE_MS_MAX = 30_000
EMPTY_PAUSE_MS_MAX = 2_000  # a hub that does not wait when asked to is not asked in a frenzy
TASKS_MAX = 100
ON_LOSS_CHARS_MAX = 32  # a word; it goes through the guard's pipe
LIMIT_MS_MIN = 300_000  # without an answered claim while beats get through: this loop is deaf


def claim_loop(state: WorkerState) -> Loop:
    """Long-poll for work; a claim is sent under the same `requestId` until it is answered: it may have been granted."""
    failures = Backoff(500, FAILED_PAUSE_MS_MAX, state.jitter)
    empties = Backoff(50, EMPTY_PAUSE_MS_MAX, state.jitter)
    request_id, sent_ms = "", 0
    foreign = ForeignHub(state)
    state.liveness.begin("claim", max(LIMIT_MS_MIN, 3 * (state.duties.poll_wait_ms + ANSWER_SLACK_MS)))
    while state.mode not in (IDLE, STOPPING):
        if not state.free_slots() or not state.may_claim() or foreign.is_resting():
            state.mark("claim")
            yield Wait("claim", FULL_LOOK_MS)
            continue
        asked_ms = state.clock.mono_ms()
        if not request_id:
            request_id, sent_ms = state.ids.new("claim"), asked_ms
        answer = yield _request(state, request_id)
        if not isinstance(answer, HubAnswer) or answer.status != HTTPStatus.OK:
            yield from _refused(state, answer)
            yield Wait("claim", failures.next_ms())
            continue
        state.mark("claim")
        request_id = ""
        granted = _granted(answer.body)
        if not (yield from _take(state, foreign, granted, sent_ms, asked_ms)):  # the next one may be like these
            yield Wait("claim", failures.next_ms())
            continue
        failures.reset()
        if granted or state.clock.mono_ms() - asked_ms >= state.duties.poll_wait_ms // 2:
            empties.reset()
        else:
            yield Wait("claim", empties.next_ms())


def _request(state: WorkerState, request_id: str) -> Call:
    return Call(
        "POST",
        CLAIM,
        claim_body(state, request_id),
        timeout_ms=state.duties.poll_wait_ms + ANSWER_SLACK_MS,
        abort="claim",
    )


def claim_body(state: WorkerState, request_id: str) -> dict[str, Any]:
    """The body of a claim (docs/contract.md, section 2)."""
    return {
        "workerId": state.identity.worker_id,
        "daemonId": state.identity.daemon_id,
        "bootId": state.identity.boot_id,
        "requestId": request_id,
        "max": 1 if state.is_hub_foreign else min(state.free_slots(), TASKS_MAX),
        "waitSec": seconds(state.duties.poll_wait_ms),
        "provides": list(state.offers()),
        "onLoss": state.claims_with(),
    }


def _granted(body: dict[str, Any]) -> list[Any]:
    if not body.get("success"):
        return []
    tasks = body.get("tasks")
    return tasks[:TASKS_MAX] if isinstance(tasks, list) else [body]


def _take(state: WorkerState, foreign: ForeignHub, granted: list[Any], sent_ms: int, asked_ms: int) -> Steps[bool]:
    """Begin what was granted → False if something was, and none of it can be begun: unreadable, or here already.

    The claim was sent first at `sent_ms` and last at `asked_ms`.
    """
    runs = [(entry, _run_of(state, entry, sent_ms, asked_ms)) for entry in granted]
    room, has_begun = state.free_slots(), False
    for _, run in runs:
        if run is not None and not _is_here(state, run):
            has_begun = True
            _lose_older(state, run)
            is_wanted = state.mode == RUNNING and room > 0  # a hub may grant more than it was asked for
            run.stop = "" if is_wanted else "drain"  # its loop gives it back, not started
            room -= 1
            line_up(state, run)
            state.runs[run.id] = run
            state.signals.raise_("beat")  # names the token: from then on the task may wait for this machine
            try:
                yield Fork(f"run:{run.id}", partial(run_loop, state, run), again=False)
            except RuntimeError as error:  # "can't start new thread"
                yield from _without_loop(state, run, str(error))
    unreadable = [entry for entry, run in runs if run is None]
    without = [entry for entry in unreadable if lacks_token(entry)]
    if without:
        yield from foreign.gave(without)
    elif unreadable:
        yield WriteLog("warning", "Daemon", t("daemon.claim_unreadable"))
        for entry in unreadable:
            yield from release_entry(state, entry)
    elif runs:
        yield from foreign.spoke_well()
    return has_begun or not granted


def _without_loop(state: WorkerState, run: Run, reason: str) -> Loop:
    """This machine has no thread for it: it is given back untouched, and its executor is not ready."""
    state.runs.pop(run.id, None)
    pass_on(state, run)
    yield WriteLog("warning", "Daemon", t("executors.given_back", task=run.task.id, reason=reason))
    executor = state.executor_for(run.task)
    if executor is not None:
        yield from no_start(state, executor, NO_PROCESSES)
    yield from give_back(state, run, "not_started")


def _run_of(state: WorkerState, entry: Any, sent_ms: int, asked_ms: int) -> Run | None:
    try:
        task = msgspec.convert(entry["task"], TaskToRun, strict=False)
        lease = lease_of(entry["lease"])
    except (msgspec.ValidationError, KeyError, TypeError, ValueError, AttributeError, OverflowError):
        return None
    if not is_id(task.id) or not 0 <= lease.token <= INT_MAX:
        return None  # a beat that named it would be refused, and with it all others
    granted_ms, counted_ms = _since(state, lease, sent_ms, asked_ms)
    run = Run(state.ids.uuid(), task, lease, granted_ms, state.clock.now_ms())
    run.counted_ms = counted_ms
    return run


def _since(state: WorkerState, lease: Lease, sent_ms: int, asked_ms: int) -> tuple[int, int]:
    """The instants (mono) since which the hub may count a lease, and the time limit of its task.

    The hub holds a claim until it has something to grant, and its answer is on its way for no longer than a call's
    slack. Whatever it grants has that much time to begin. If a claim was repeated and the hub does not say how much of
    the lease is left, it may have granted it at any time since the first sending.
    """
    if lease.held_ms is None and asked_ms != sent_ms:
        return sent_ms, sent_ms
    held_ms = lease.held_ms or 0
    answered_ms = max(asked_ms, state.clock.mono_ms() + ANSWER_SLACK_MS - FREE_MS)
    return asked_ms - held_ms, max(sent_ms, answered_ms - held_ms)


def lease_of(granted: dict[str, Any]) -> Lease:
    """The lease of a claim's answer.

    Its first length is the difference of two instants of the hub's clock: too long if the hub was absent between them,
    shorter than what is left if its clock was set back. What is left is exact.
    """
    duration_ms = int(float(granted["durationSec"]) * MS_PER_S)
    first_ms = min(parse_iso(granted["expiresAt"]) - parse_iso(granted["claimedAt"]), duration_ms)
    left_ms = max(0, int(float(granted["leftSec"]) * MS_PER_S)) if "leftSec" in granted else None
    if left_ms is not None and left_ms > first_ms:
        first_ms = duration_ms
    return Lease(
        token=int(granted["token"]),
        on_loss=str(granted.get("onLoss") or "requeue")[:ON_LOSS_CHARS_MAX],
        duration_ms=duration_ms,
        first_ms=first_ms,
        held_ms=None if left_ms is None else max(0, first_ms - left_ms),
    )


def _is_here(state: WorkerState, run: Run) -> bool:
    """A claim that was sent again gave what is already here."""
    held = ((other.task.id, other.lease.token) for other in state.runs.values())
    return (run.task.id, run.lease.token) in held


def _lose_older(state: WorkerState, run: Run) -> None:
    """A newer token for the same task: whatever is still here with an older one is lost."""
    for other in state.runs.values():
        if other.task.id == run.task.id:
            state.stop_run(other, "lost")


def _refused(state: WorkerState, answer: HubAnswer | Failed) -> Steps[None]:
    if isinstance(answer, Failed):
        return  # the heartbeat says so; one voice is enough
    code = answer.body.get("code")
    if code == "unknown_boot":
        state.is_known = False
        state.signals.raise_("beat")
    elif code in ("superseded", "id_taken"):
        state.stand_down(str(code))
    elif answer.status not in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        error = str(answer.body.get("error", ""))[:200]
        yield WriteLog("warning", "Daemon", t("daemon.claim_refused"), {"status": answer.status, "error": error})
