"""The report loop: takes results from the spool to the hub, until each is accepted or refused for good."""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import Any

import msgspec

from understudy.backoff import Backoff
from understudy.texts import t
from understudy.worker.effects import (
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
)
from understudy.worker.guard_policy import RunDone
from understudy.worker.results import RunResult, wire_form
from understudy.worker.state import WorkerState

RESULTS = "/api/results"
BATCH_MAX = 100
BATCH_BYTES_MAX = 6 << 20  # the hub takes 8 MiB
TIMEOUT_MS = 15_000
PAUSE_MS_MAX = 30_000
LOOK_MS = 10_000
LIMIT_MS = 300_000  # without anything delivered while beats get through
REASON_CHARS_MAX = 200  # of why the hub takes a result no more
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
    while state.results and state.clock.mono_ms() < until_ms and not state.is_stop_asked:
        if not (yield from deliver(state)):
            yield Wait("report", backoff.next_ms())


def report_loop(state: WorkerState) -> Loop:
    """Deliver results as long as there are any, with growing pauses."""
    backoff = Backoff(250, PAUSE_MS_MAX, state.jitter)
    state.liveness.begin("report", LIMIT_MS)
    while not state.is_stopped:
        if not state.results:
            state.mark("report")
            yield Wait("report", LOOK_MS)
        elif (yield from deliver(state)):
            state.mark("report")
            backoff.reset()
        else:
            yield Wait("report", backoff.next_ms())


def deliver(state: WorkerState) -> Steps[bool]:
    """One request with as many results as it may hold → whether anything was settled by it."""
    batch = next_batch(state)
    answer: HubAnswer | Failed = yield _post(batch)
    if isinstance(answer, HubAnswer) and answer.status == HTTPStatus.OK:
        return (yield from _heed(state, batch, answer.body.get("results")))
    if isinstance(answer, Failed) or not answer.is_final:
        return False
    if len(batch) > 1:  # one of them is not to the hub's liking: find out which
        return (yield from _one_by_one(state, batch))
    return (yield from _refused(state, batch[0], answer))


def _post(batch: list[RunResult]) -> Call:
    body = {"results": [wire_form(result) for result in batch]}
    return Call("POST", RESULTS, body, timeout_ms=TIMEOUT_MS)


def next_batch(state: WorkerState) -> list[RunResult]:
    """The oldest results that fit one request; at least one."""
    batch: list[RunResult] = []
    size = 0
    for result in state.results.values():
        size += len(msgspec.json.encode(wire_form(result)))
        if batch and (size > BATCH_BYTES_MAX or len(batch) == BATCH_MAX):
            break
        batch.append(result)
    return batch


def _one_by_one(state: WorkerState, batch: list[RunResult]) -> Steps[bool]:
    settled = False
    for result in batch:
        answer: HubAnswer | Failed = yield _post([result])
        if isinstance(answer, HubAnswer) and answer.status == HTTPStatus.OK:
            settled = (yield from _heed(state, [result], answer.body.get("results"))) or settled
        elif isinstance(answer, HubAnswer) and answer.is_final:
            settled = (yield from _refused(state, result, answer)) or settled
        else:
            return settled
    return settled


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
        smaller = smaller_than(result)
        if smaller is not None:
            if result.name not in state.shortened:
                state.shortened.add(result.name)
                yield ArchiveResult(result, "too large for the hub: the end and the beginning were delivered")
            state.results[result.name] = smaller
            return True
        if answer.body.get("code") == TOO_LARGE_ON_THE_WAY:
            return False
    yield from _shelve(state, result, f"{answer.status} {answer.body.get('error', '')}"[:REASON_CHARS_MAX])
    return True


def smaller_than(result: RunResult) -> RunResult | None:
    """The result with half of its longest text, then without its usage; None if nothing is left to cut."""
    output, error = result.output or "", result.error or ""
    if max(len(output), len(error)) > TEXT_CHARS_MIN:
        if len(output) >= len(error):
            return msgspec.structs.replace(result, output=_halved(output))
        return msgspec.structs.replace(result, error=_halved(error))
    return msgspec.structs.replace(result, usage=None) if result.usage else None


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
    state.shortened.discard(result.name)
    if result.name in state.unkept:
        state.unkept.discard(result.name)
        yield TellGuard(RunDone(result.name))
    for signal in ("claim", "main"):
        state.signals.raise_(signal)
