"""The report loop: takes results from the spool to the hub, until each is accepted or refused for good."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import msgspec

from understudy.texts import t
from understudy.worker.backoff import Backoff
from understudy.worker.effects import Answer, Call, Failed, Forget, LoadSpool, Loop, Say, Shelve, Steps, TellGuard, Wait
from understudy.worker.guard_policy import Done
from understudy.worker.results import Result, wire_form
from understudy.worker.state import WorkerState

RESULTS = "/api/results"
BATCH_MAX = 100
BATCH_BYTES_MAX = 6 << 20  # the hub takes 8 MiB
TIMEOUT_MS = 15_000
PAUSE_MS_MAX = 30_000
LOOK_MS = 10_000
LIMIT_MS = 300_000  # without anything delivered while beats get through
REPLACED_OUTPUT_CHARS = 64 * 1024


def load_spool(state: WorkerState) -> Loop:
    """Take up what an earlier life could not deliver."""
    left: tuple[Result, ...] = yield LoadSpool()
    state.results.update((result.name, result) for result in left)
    if left:
        yield Say("info", "Startup", "Undelivered results found", {"count": len(left)})


def deliver_first(state: WorkerState, limit_ms: int) -> Loop:
    """Before the first beat of a boot: deliver, for a bounded time; results are judged by token, not by boot."""
    until_ms = state.clock.mono_ms() + limit_ms
    backoff = Backoff(250, 2_000, state.jitter)
    while state.results and state.clock.mono_ms() < until_ms and not state.is_stop_asked:
        if not (yield from deliver(state)):
            yield Wait("report", backoff.next_ms())


def report_loop(state: WorkerState) -> Loop:
    """Deliver whenever there is something, for ever but ever slower."""
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
    answer: Answer | Failed = yield _post(batch)
    if isinstance(answer, Answer) and answer.status == HTTPStatus.OK:
        return (yield from _heed(state, batch, answer.body.get("results")))
    if isinstance(answer, Failed) or not answer.is_final:
        return False
    if len(batch) > 1:  # one of them is not to the hub's liking: find out which
        return (yield from _one_by_one(state, batch))
    return (yield from _refused(state, batch[0], answer))


def _post(batch: list[Result]) -> Call:
    body = {"results": [wire_form(result) for result in batch]}
    return Call("POST", RESULTS, body, timeout_ms=TIMEOUT_MS)


def next_batch(state: WorkerState) -> list[Result]:
    """The oldest results that fit one request; at least one."""
    batch: list[Result] = []
    size = 0
    for result in state.results.values():
        size += len(msgspec.json.encode(wire_form(result)))
        if batch and (size > BATCH_BYTES_MAX or len(batch) == BATCH_MAX):
            break
        batch.append(result)
    return batch


def _one_by_one(state: WorkerState, batch: list[Result]) -> Steps[bool]:
    settled = False
    for result in batch:
        answer: Answer | Failed = yield _post([result])
        if isinstance(answer, Answer) and answer.status == HTTPStatus.OK:
            settled = (yield from _heed(state, [result], answer.body.get("results"))) or settled
        elif isinstance(answer, Answer) and answer.is_final:
            settled = (yield from _refused(state, result, answer)) or settled
        else:
            return settled
    return settled


def _heed(state: WorkerState, batch: list[Result], verdicts: Any) -> Steps[bool]:
    """Each result has its own verdict: accepted, or refused for good (its lease is lost, its task unknown)."""
    if not isinstance(verdicts, list) or len(verdicts) != len(batch):
        return False
    settled = False
    for result, verdict in zip(batch, verdicts, strict=True):
        if not isinstance(verdict, dict):
            continue
        if verdict.get("success"):
            yield from _settled(state, result)
            yield Say("debug", "Daemon", f"Delivered {result.task_id}")
        elif "error" in verdict:
            yield from _shelve(state, result, str(verdict.get("code") or verdict["error"]))
        else:
            continue
        settled = True
    return settled


def _refused(state: WorkerState, result: Result, answer: Answer) -> Steps[bool]:
    """The hub refuses the request of this one result: too large is cut, anything else is kept as evidence."""
    if answer.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE and len(result.output or "") > REPLACED_OUTPUT_CHARS:
        half = REPLACED_OUTPUT_CHARS // 2
        output = result.output or ""
        cut = f"{output[:half]}\n… {len(output) - 2 * half} characters left out …\n{output[-half:]}"
        state.results[result.name] = msgspec.structs.replace(result, output=cut)
        return True
    yield from _shelve(state, result, f"{answer.status} {answer.body.get('error', '')}"[:200])
    return True


def _shelve(state: WorkerState, result: Result, reason: str) -> Loop:
    yield Shelve(result, reason)
    yield from _settled(state, result)
    yield Say("warning", "Daemon", t("daemon.result_refused", task=result.task_id), {"reason": reason})


def _settled(state: WorkerState, result: Result) -> Loop:
    """First off the disk, then out of the beats: a crash in between sends it once more, which changes nothing."""
    yield Forget(result.name)
    state.results.pop(result.name, None)
    if result.name in state.unkept:
        state.unkept.discard(result.name)
        yield TellGuard(Done(result.name))
    for signal in ("claim", "main"):
        state.signals.raise_(signal)
