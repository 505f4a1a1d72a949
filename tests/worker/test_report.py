"""Delivering results: batches, refusals, what is too large."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from understudy.clock import ManualClock
from understudy.ids import IdMaker
from understudy.worker.effects import (
    TOO_LARGE_ON_THE_WAY,
    ArchiveResult,
    Call,
    Failed,
    HubAnswer,
    RunResult,
    UnspoolResult,
)
from understudy.worker.executors.command import CommandExecutor
from understudy.worker.report import deliver
from understudy.worker.result_batches import BATCH_BYTES_MAX, BATCH_MAX
from understudy.worker.state import Duties, Identity, WorkerState

Hub = Callable[[dict[str, Any]], HubAnswer | Failed]


def state_with(*results: RunResult) -> WorkerState:
    clock = ManualClock()
    identity = Identity("mini", "machine", "boot", "0")
    state = WorkerState(identity, clock, IdMaker(clock), {"command": CommandExecutor(("x",), {})}, Duties())
    state.results = {result.name: result for result in results}
    return state


def result(name: str, output: str = "") -> RunResult:
    return RunResult(name=name, task_id=f"task-{name}", token=7, success=True, output=output)


def delivered(state: WorkerState, hub: Hub) -> tuple[bool, list[Any]]:
    """Whether to go on at once after one request, and every effect."""
    loop, effects, value = deliver(state), [], None
    while True:
        try:
            effect = loop.send(value)
        except StopIteration as end:
            return bool(end.value), effects
        effects.append(effect)
        value = hub(effect.body) if isinstance(effect, Call) else None


def worked_off(state: WorkerState, hub: Hub) -> list[Any]:
    """Every effect of as many requests as are made without a pause."""
    effects: list[Any] = []
    for _ in range(300):
        goes_on, more = delivered(state, hub)
        effects += more
        if not (goes_on and state.results):
            break
    return effects


def accepting(body: dict[str, Any]) -> HubAnswer:
    return HubAnswer(200, {"results": [{"taskId": r["taskId"], "success": True} for r in body["results"]]})


def test_all_that_waits_goes_in_one_request() -> None:
    state = state_with(result("a"), result("b"))
    settled, effects = delivered(state, accepting)
    assert settled
    assert [r["taskId"] for r in effects[0].body["results"]] == ["task-a", "task-b"]
    assert [effect.name for effect in effects if isinstance(effect, UnspoolResult)] == ["a", "b"]
    assert state.results == {}


def test_batch_has_at_most_a_hundred_results() -> None:
    state = state_with(*(result(str(number)) for number in range(BATCH_MAX + 1)))
    assert len(state.batches.next(state.results)) == BATCH_MAX


def test_batch_stays_below_what_the_hub_takes() -> None:
    half = "x" * (BATCH_BYTES_MAX // 2)
    state = state_with(result("a", half), result("b", half), result("c"))
    assert [r.name for r in state.batches.next(state.results)] == ["a"]


def test_result_larger_than_a_batch_goes_alone() -> None:
    state = state_with(result("a", "x" * (BATCH_BYTES_MAX + 1)), result("b"))
    assert [r.name for r in state.batches.next(state.results)] == ["a"]


@pytest.mark.parametrize(
    "answer",
    [
        Failed("cut"),
        HubAnswer(200, {}),
        HubAnswer(503, {"error": "Storage unavailable"}),
        HubAnswer(401, {"error": "Unauthorized"}),
        HubAnswer(403, {"error": "Forbidden"}),
        HubAnswer(429, {"error": "Too many requests"}),
        HubAnswer(201, {}),  # the rest are not the hub's words
        HubAnswer(302, {}),
        HubAnswer(404, {}),
        HubAnswer(413, {"message": "Request too long"}),
        HubAnswer(404, {"error": "Not found"}),  # of the path: it says nothing about a result
        HubAnswer(405, {"error": "Method not allowed"}),
        HubAnswer(501, {"error": "Not implemented"}),
        HubAnswer(400, {"error": {"code": 400}}),  # a gateway's words
        Failed("status 403, not a JSON object", status=403),
    ],
)
@pytest.mark.parametrize("count", [1, 2])
def test_what_may_pass_keeps_everything(answer: HubAnswer | Failed, count: int) -> None:
    state = state_with(*(result(str(number)) for number in range(count)))
    effects = worked_off(state, lambda _: answer)
    assert len(state.results) == count
    assert not any(isinstance(effect, ArchiveResult | UnspoolResult) for effect in effects)


def test_each_result_has_its_own_verdict() -> None:
    state = state_with(result("a"), result("b"))
    verdicts = [
        {"taskId": "task-a", "error": "Lease lost", "code": "lease_lost"},
        {"taskId": "task-b", "success": True},
    ]
    settled, effects = delivered(state, lambda _: HubAnswer(200, {"results": verdicts}))
    assert settled
    shelved = [(e.result.name, e.reason) for e in effects if isinstance(e, ArchiveResult)]
    assert shelved == [("a", "lease_lost")]
    assert state.results == {}


def test_a_refusal_of_any_length_is_kept_short() -> None:
    state = state_with(result("a"))
    _, effects = delivered(state, lambda _: HubAnswer(200, {"results": [{"error": "no" * 1_000_000}]}))
    assert [len(effect.reason) for effect in effects if isinstance(effect, ArchiveResult)] == [200]


def test_what_a_full_hub_has_cut_stays_whole_on_this_machine() -> None:
    state = state_with(result("a"), result("b"))
    verdicts = [{"taskId": "task-a", "success": True, "cut": True}, {"taskId": "task-b", "success": True}]
    settled, effects = delivered(state, lambda _: HubAnswer(200, {"results": verdicts}))
    assert settled
    assert [e.result for e in effects if isinstance(e, ArchiveResult)] == [result("a")]
    assert state.results == {}


def test_one_bad_result_does_not_hold_up_the_others() -> None:
    def hub(body: dict[str, Any]) -> HubAnswer:
        is_bad = any(r["taskId"] == "task-b" for r in body["results"])
        return HubAnswer(400, {"error": "Validation failed"}) if is_bad else accepting(body)

    state = state_with(result("a"), result("b"), result("c"))
    effects = worked_off(state, hub)
    assert [e.result.name for e in effects if isinstance(e, ArchiveResult)] == ["b"]
    assert state.results == {}


def test_bad_results_among_many_cost_few_requests_and_no_pause() -> None:
    def hub(body: dict[str, Any]) -> HubAnswer:
        is_bad = any(r["taskId"] in ("task-0", "task-77") for r in body["results"])
        return HubAnswer(400, {"error": "Validation failed"}) if is_bad else accepting(body)

    state = state_with(*(result(str(number)) for number in range(150)))
    effects = worked_off(state, hub)
    assert [e.result.name for e in effects if isinstance(e, ArchiveResult)] == ["0", "77"]
    assert state.results == {}
    assert sum(isinstance(effect, Call) for effect in effects) < 50


def taking(chars_max: int, answer: HubAnswer) -> Hub:
    """A hub, or a proxy before it, that finds longer texts too large."""

    def hub(body: dict[str, Any]) -> HubAnswer:
        longest = max(len(str(r.get(name) or "")) for r in body["results"] for name in ("output", "error", "usage"))
        return answer if longest > chars_max else accepting(body)

    return hub


HUB_413 = HubAnswer(413, {"error": "Request body too large", "limitBytes": 8 << 20})
PROXY_413 = HubAnswer(413, {"error": "Request body too large", "code": TOO_LARGE_ON_THE_WAY})


@pytest.mark.parametrize("refusal", [HUB_413, PROXY_413], ids=["the hub", "a proxy"])
@pytest.mark.parametrize("field", ["output", "error"])
def test_result_that_is_too_large_is_halved_until_it_is_taken(refusal: HubAnswer, field: str) -> None:
    whole = msgspec.structs.replace(result("a"), **{field: "A" + "m" * 900_000 + "Z"})
    state, hub, shelved = state_with(whole), taking(100_000, refusal), []
    for _ in range(20):
        settled, effects = delivered(state, hub)
        assert settled
        shelved += [effect.result for effect in effects if isinstance(effect, ArchiveResult)]
        if not state.results:
            break
    sent = effects[0].body["results"][0][field]
    assert (sent[0], sent[-1], len(sent) > 50_000) == ("A", "Z", True)
    left_out = int(sent.partition("… ")[2].partition(" ")[0])
    assert left_out + sent.count("m") + 2 == 900_002
    assert shelved == [whole], "the whole is kept on this machine, once"
    assert state.results == {}
    assert state.shortened == set()


def test_small_result_that_a_proxy_finds_too_large_is_never_given_up() -> None:
    state = state_with(result("a", "small"))
    assert delivered(state, taking(0, PROXY_413))[0] is False
    assert list(state.results) == ["a"]


def test_usage_without_end_is_left_out_of_what_is_too_large() -> None:
    state = state_with(msgspec.structs.replace(result("a"), usage={"x": "y" * 200_000}))
    assert delivered(state, taking(100_000, HUB_413))[0]
    assert delivered(state, taking(100_000, HUB_413))[0]
    assert state.results == {}
