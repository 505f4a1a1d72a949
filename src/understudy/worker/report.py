"""The report loop: takes results from the spool to the hub, until each is accepted or refused for good."""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import Any

import msgspec

from understudy.backoff import Backoff
from understudy.texts import t
from understudy.worker.effects import (
    NOT_HERE,
    TOO_LARGE_ON_THE_WAY,
    ArchiveResult,
    Call,
    Failed,
    HubAnswer,
    LoadSpool,
    Loop,
    Steps,
    TellGuard,
    UnspoolResult,
    Wait,
    WriteLog,
    may_mean_the_content,
)
from understudy.worker.guard_policy import RunDone
from understudy.worker.result_batches import TIMEOUT_MS
from understudy.worker.results import RunResult, wire_form
from understudy.worker.state import WorkerState

RESULTS = "/api/results"
TIMEOUT_MS_MIN = 1_000
PAUSE_MS_MAX = 30_000
LOOK_MS = 10_000
LIMIT_MS = 300_000  # without anything delivered while beats get through
REASON_CHARS_MAX = 200  # of why the hub takes a result no more
MAY_BE_AWAY = (  # whatever is sent; 0: no answer
    0,
    HTTPStatus.REQUEST_TIMEOUT,
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.BAD_GATEWAY,
    HTTPStatus.SERVICE_UNAVAILABLE,
    HTTPStatus.GATEWAY_TIMEOUT,
)
MAY_BE_SLOW = (0, HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.GATEWAY_TIMEOUT)
SLOW_MS = 10_000  # who cuts a request later than that has waited for the rest of it
TEXT_CHARS_MIN = 16 * 1024  # output or error of a result that is too large: halved as long as it is longer


_LEFT_OUT = re.compile(r"\n… (\d{1,12}) characters left out …\n")


def load_spool(state: WorkerState) -> Loop:
    """Take up what an earlier life could not deliver."""
    left: tuple[RunResult, ...] = yield LoadSpool()
    state.results.update((result.name, result) for result in left)
    if left:
        yield WriteLog("info", "Startup", "Undelivered results found", {"count": len(left)})


def deliver_first(state: WorkerState, limit_ms: int) -> Loop:
    """Before the first beat of a boot: deliver, for a bounded time; results are judged by token, not by boot."""
    until_ms = state.clock.mono_ms() + limit_ms
    backoff = Backoff(250, 2_000, state.jitter)
    while state.results and not state.is_stop_asked and (left_ms := until_ms - state.clock.mono_ms()) > 0:
        if not (yield from deliver(state, min(TIMEOUT_MS, max(TIMEOUT_MS_MIN, left_ms)))):
            yield Wait("report", backoff.next_ms())


def report_loop(state: WorkerState) -> Loop:
    """Deliver results as long as there are any, with growing pauses."""
    backoff = Backoff(250, PAUSE_MS_MAX, state.jitter)
    state.liveness.begin("report", LIMIT_MS)
    while not state.is_stopped:
        pause_ms = state.batches.pause_ms(state.results)
        if pause_ms or not state.results:
            state.mark("report")  # the others got through
            yield Wait("report", min(pause_ms or LOOK_MS, LOOK_MS))
        elif (yield from deliver(state)):
            backoff.reset()
        else:
            yield Wait("report", backoff.next_ms())


def deliver(state: WorkerState, timeout_ms: int | None = None) -> Steps[bool]:
    """One request with as many results as it may hold → whether to go on at once: something came of it."""
    batch = state.batches.next(state.results)
    if not batch:
        return False
    if state.batches.must_cut(batch) and has_long_text(batch[0]):
        yield from _shortened(state, batch[0], "too large for the line: the end and the beginning were delivered")
        batch = [state.results[batch[0].name]]
    body = {"results": [wire_form(result) for result in batch]}
    sent_ms = state.clock.mono_ms()
    timeout_ms = timeout_ms or state.batches.timeout_ms(batch)
    answer: HubAnswer | Failed = yield Call("POST", RESULTS, body, timeout_ms=timeout_ms)
    if isinstance(answer, HubAnswer) and answer.status == HTTPStatus.OK:
        if (yield from _heed(state, batch, answer.body.get("results"))):
            state.batches.got_through()
            return True
    elif isinstance(answer, HubAnswer) and answer.is_final and len(batch) == 1:
        is_settled = yield from _refused(state, batch[0], answer)
        if is_settled:
            return True
    yield from _not_taken(state, batch, answer)
    if answer.status in MAY_BE_SLOW and state.clock.mono_ms() - sent_ms >= SLOW_MS:
        state.batches.was_slow(batch)
    return len(batch) > 1 and _is_refused(answer)  # one of them is not to somebody's liking: find out which


def _is_refused(answer: HubAnswer | Failed) -> bool:
    """True if the hub, or a firewall before it, refuses what was sent."""
    if isinstance(answer, HubAnswer):
        return answer.is_final and answer.status != HTTPStatus.OK
    return may_mean_the_content(answer)


def _not_taken(state: WorkerState, batch: list[RunResult], answer: HubAnswer | Failed) -> Loop:
    """All of them stay; the log says what only a person can put right."""
    reason = answer.reason if isinstance(answer, Failed) else f"status {answer.status}"
    if state.batches.failed(batch, is_refused=_is_refused(answer), may_be_away=answer.status in MAY_BE_AWAY):
        yield WriteLog("warning", "Daemon", t("daemon.result_held", task=batch[0].task_id), {"reason": reason})
    if answer.status in NOT_HERE and not state.batches.is_nowhere_reported:
        state.batches.is_nowhere_reported = True
        yield WriteLog("critical", "Daemon", t("daemon.results_nowhere", path=RESULTS), {"reason": reason})


def _heed(state: WorkerState, batch: list[RunResult], verdicts: Any) -> Steps[bool]:
    """Each result has its own verdict: accepted, or refused for good (its lease is lost, its task unknown)."""
    if not isinstance(verdicts, list) or len(verdicts) != len(batch):
        return False
    settled = False
    for result, verdict in zip(batch, verdicts, strict=True):
        if not isinstance(verdict, dict):
            continue
        if verdict.get("success"):
            if verdict.get("cut"):
                yield ArchiveResult(result, "the hub's store is full: it has the beginning and the end")
            yield from _settled(state, result)
            yield WriteLog("debug", "Daemon", f"Delivered {result.task_id}")
        elif "error" in verdict:
            yield from _shelve(state, result, str(verdict.get("code") or verdict["error"])[:REASON_CHARS_MAX])
        else:
            continue
        settled = True
    return settled


def _refused(state: WorkerState, result: RunResult, answer: HubAnswer) -> Steps[bool]:
    """The hub refuses the request of this one result: too large is cut, anything else is kept as evidence.

    A result that a proxy refuses as too large although it is small stays here: it is delivered after its owner's fix.
    """
    if answer.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        if (yield from _shortened(state, result, "too large for the hub: the end and the beginning were delivered")):
            return True
        if answer.body.get("code") == TOO_LARGE_ON_THE_WAY:
            return False
    yield from _shelve(state, result, f"{answer.status} {answer.body.get('error', '')}"[:REASON_CHARS_MAX])
    return True


def _shortened(state: WorkerState, result: RunResult, why: str) -> Steps[bool]:
    """Send less of it from now on; the whole is kept as evidence → False if nothing is left to cut."""
    smaller = smaller_than(result)
    if smaller is None:
        return False
    if result.name not in state.shortened:
        state.shortened.add(result.name)
        yield ArchiveResult(result, why)
    state.results[result.name] = smaller
    return True


def smaller_than(result: RunResult) -> RunResult | None:
    """The result with half of its longest text, then without its usage; None if nothing is left to cut."""
    output, error = result.output or "", result.error or ""
    if has_long_text(result):
        if len(output) >= len(error):
            return msgspec.structs.replace(result, output=_halved(output))
        return msgspec.structs.replace(result, error=_halved(error))
    return msgspec.structs.replace(result, usage=None) if result.usage else None


def has_long_text(result: RunResult) -> bool:
    """True if a text of it is worth cutting."""
    return max(len(result.output or ""), len(result.error or "")) > TEXT_CHARS_MIN


def _halved(text: str) -> str:
    """Its beginning and its end; one that was cut before is cut around the same place."""
    kept = len(text) // 4
    left_out = len(text) - 2 * kept
    found = _LEFT_OUT.search(text)
    if found:
        left_out += int(found[1]) - len(found[0])
    return f"{text[:kept]}\n… {left_out} characters left out …\n{text[-kept:]}"


def _shelve(state: WorkerState, result: RunResult, reason: str) -> Loop:
    yield ArchiveResult(result, reason)
    yield from _settled(state, result)
    yield WriteLog("warning", "Daemon", t("daemon.result_refused", task=result.task_id), {"reason": reason})


def _settled(state: WorkerState, result: RunResult) -> Loop:
    """First off the disk, then out of the beats: a crash in between sends it once more, which changes nothing."""
    yield UnspoolResult(result.name)
    state.results.pop(result.name, None)
    state.batches.forget(result.name)
    state.mark("report")
    state.shortened.discard(result.name)
    if result.name in state.unkept:
        state.unkept.discard(result.name)
        yield TellGuard(RunDone(result.name))
    for signal in ("claim", "main"):
        state.signals.raise_(signal)
