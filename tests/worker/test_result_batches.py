"""Results that do not get through hold up no others, and nothing is ever dropped for it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import msgspec
import pytest

from tests.worker.rules_hub import RulesHub
from tests.worker.stage import Stage
from understudy.daemon.life import main_loop
from understudy.worker.effects import TOO_LARGE_ON_THE_WAY, Call, Failed, HubAnswer
from understudy.worker.report import report_loop
from understudy.worker.result_batches import ALONE_MS_MAX, DOUBLED_MAX, TIMEOUT_MS
from understudy.worker.results import RunResult

BEAT_MS = 10_000
MINUTE_MS, HOUR_MS = 60_000, 3_600_000
PAGE_403 = Failed("status 403, not a JSON object", status=403)
HELD = "does not get through to the hub"


class Line:
    """A hub that takes every result, and what lies between: it refuses those of some tasks, and may be slow."""

    def __init__(self, count: int, refusal: HubAnswer | Failed = PAGE_403, chars: int = 1) -> None:
        self.stage = Stage(self.call)
        self.refusal = refusal
        self.refused = {"task-0"}
        self.absence = Failed("connection refused")
        self.is_away = False
        self.away_ms = 1  # until that shows
        self.delay_ms: Callable[[int], int] = lambda _: 4  # for so many bytes
        self.taken: list[str] = []
        for nth in range(count):
            self.finish(nth, chars)
        self.stage.after(0, lambda: self.stage.start(report_loop(self.stage.state)))
        self.stage.after(BEAT_MS, self.beat)

    def beat(self) -> None:
        """As the heartbeat does it."""
        if not self.is_away:
            self.stage.state.batches.heard()
        self.stage.after(BEAT_MS, self.beat)

    def finish(self, nth: int, chars: int = 1) -> None:
        result = RunResult(f"run-{nth}", f"task-{nth}", nth + 1, success=True, output="x" * chars)
        self.stage.state.results[result.name] = result
        self.stage.state.signals.raise_("report")

    def call(self, call: Call) -> tuple[int, HubAnswer | Failed]:
        names = [entry["taskId"] for entry in call.body["results"]]
        if self.is_away:
            return self.away_ms, self.absence
        if self.refused.intersection(names):
            return 4, self.refusal
        delay_ms = self.delay_ms(len(msgspec.json.encode(call.body)))
        if delay_ms <= call.timeout_ms:
            self.taken += names
        return delay_ms, HubAnswer(200, {"results": [{"taskId": name, "success": True} for name in names]})

    def is_empty(self) -> bool:
        return not self.stage.state.results

    def only_the_refused_waits(self) -> bool:
        return list(self.stage.state.results) == ["run-0"]

    def warnings(self) -> list[str]:
        return [line for line in self.stage.said if HELD in line]


REFUSALS = {
    "a firewall's page": PAGE_403,
    "a firewall that speaks JSON": HubAnswer(403, {"error": "Blocked"}),
    "a firewall that cuts": Failed("connection reset"),
    "a defect of the hub": HubAnswer(500, {"error": "Internal error"}),
    "too large for a proxy": HubAnswer(413, {"error": "x", "code": TOO_LARGE_ON_THE_WAY}),
    "no verdict": HubAnswer(200, {"results": []}),
}


@pytest.mark.parametrize("refusal", REFUSALS.values(), ids=REFUSALS.keys())
@pytest.mark.parametrize("count", [2, 5, 150])
def test_result_that_is_refused_on_the_way_holds_up_no_other(refusal: HubAnswer | Failed, count: int) -> None:
    line = Line(count, refusal)
    assert line.stage.run_until(line.only_the_refused_waits, within_ms=MINUTE_MS)
    assert len(line.taken) == len(set(line.taken)) == count - 1
    line.stage.run_for(HOUR_MS)
    assert line.only_the_refused_waits()
    assert line.stage.evidence == []
    assert ["task-0" in said for said in line.warnings()] == [True], "its owner hears of it once"


def test_a_firewall_is_found_out_without_a_pause() -> None:
    """Before the first beat there are ten seconds for it."""
    line = Line(100)
    assert line.stage.run_until(line.only_the_refused_waits, within_ms=1_000)


@pytest.mark.parametrize("refusal", [PAGE_403, Failed("connection reset")])
def test_what_is_refused_is_tried_ever_more_rarely_and_goes_once_nobody_refuses_it(refusal: Failed) -> None:
    line = Line(5, refusal)
    line.stage.run_for(HOUR_MS)
    tries = [at for at, call in line.stage.calls if call.body["results"][0]["taskId"] == "task-0"]
    assert 6 <= len(tries) <= 30
    line.refused = set()
    assert line.stage.run_until(line.is_empty, within_ms=ALONE_MS_MAX + 1)


def test_later_results_do_not_wait_for_a_refused_one() -> None:
    line = Line(3)
    line.stage.run_for(HOUR_MS)
    for nth in range(10, 20):
        line.stage.after(1, partial(line.finish, nth))
        line.stage.run_for(1_000)
        assert line.only_the_refused_waits()


@pytest.mark.parametrize("count", [1, 3, 200])
def test_an_absent_hub_delays_nothing_beyond_its_absence(count: int) -> None:
    line = Line(count)
    line.refused, line.is_away = set(), True
    line.stage.run_for(6 * HOUR_MS)
    line.is_away = False
    assert line.stage.run_until(line.is_empty, within_ms=35_000)
    assert len(line.taken) == count
    assert line.warnings() == []


@pytest.mark.parametrize("absence", [Failed("connection refused"), Failed("status 502, …", status=502)])
def test_two_absences_of_the_hub_are_no_failures_of_the_result_that_met_both(absence: Failed) -> None:
    """It waited up to ten minutes after the hub's return, and its owner was told to look at a firewall."""
    line = Line(2)
    line.refused, line.refusal = {"task-0"}, absence
    assert line.stage.run_until(line.only_the_refused_waits, within_ms=MINUTE_MS)
    line.refused, line.is_away, line.absence = set(), True, absence
    line.stage.run_for(6 * HOUR_MS)
    assert line.warnings() == []
    line.is_away = False
    assert line.stage.run_until(line.is_empty, within_ms=35_000)
    assert line.warnings() == []


def test_a_slow_line_gets_smaller_requests() -> None:
    """Twelve results of 512 KiB at 2 Mbit/s: 25 s together, 2 s each."""
    line = Line(12, chars=512 << 10)
    line.refused, line.delay_ms = set(), lambda size: size * 8 // 2_000
    assert line.stage.run_until(line.is_empty, within_ms=3 * MINUTE_MS)


@pytest.mark.parametrize("others", [0, 3])
def test_one_result_on_a_slow_line_gets_more_time(others: int) -> None:
    """512 KiB at 100 kbit/s: 42 s."""
    line = Line(1, chars=512 << 10)
    for nth in range(1, others + 1):
        line.finish(nth)
    line.refused, line.delay_ms = set(), lambda size: size * 8 // 100
    assert line.stage.run_until(line.is_empty, within_ms=5 * MINUTE_MS)
    assert line.stage.evidence == []


def test_what_no_time_is_enough_for_is_cut_and_kept_whole_as_evidence() -> None:
    line = Line(1, chars=512 << 10)
    line.refused, line.delay_ms = set(), lambda size: size * 8 // 20
    assert line.stage.run_until(line.is_empty, within_ms=15 * MINUTE_MS)
    assert line.taken == ["task-0"]
    ((whole, why),) = line.stage.evidence
    assert (len(whole.output or ""), why) == (
        512 << 10,
        "too large for the line: the end and the beginning were delivered",
    )
    assert len(line.warnings()) == 1


@pytest.mark.parametrize("others", [0, 3])
def test_a_hub_that_is_silently_away_costs_no_result_its_middle(others: int) -> None:
    line = Line(1, chars=512 << 10)
    for nth in range(1, others + 1):
        line.finish(nth)
    line.refused, line.is_away, line.away_ms = set(), True, HOUR_MS
    line.stage.run_for(6 * HOUR_MS)
    assert {call.timeout_ms for _, call in line.stage.calls} == {TIMEOUT_MS}
    line.is_away = False
    assert line.stage.run_until(line.is_empty, within_ms=50_000)
    assert line.stage.evidence == []


def test_a_result_is_cut_only_when_the_hub_is_heard_after_its_longest_time() -> None:
    state = Line(2, chars=512 << 10).stage.state
    batch = [next(iter(state.results.values()))]
    state.batches.failed(batch, is_refused=False, may_be_away=True)
    for _ in range(DOUBLED_MAX):
        state.batches.was_slow(batch)
        state.batches.heard()
    for _ in range(5):
        state.batches.was_slow(batch)
        assert not state.batches.must_cut(batch)
    state.batches.heard()
    assert [state.batches.must_cut(batch) for _ in range(2)] == [True, False]


def test_what_is_cut_at_once_is_not_too_slow() -> None:
    line = Line(1, Failed("connection reset"), chars=512 << 10)
    line.stage.run_for(6 * HOUR_MS)
    assert line.stage.evidence == []
    assert {call.timeout_ms for _, call in line.stage.calls} == {TIMEOUT_MS}


@pytest.mark.parametrize(
    "answer",
    [
        HubAnswer(404, {"error": "Not found"}),
        HubAnswer(405, {"error": "Method not allowed"}),
        HubAnswer(501, {"error": "Not implemented"}),
        Failed("status 404, not a JSON object", status=404),
    ],
)
def test_a_hub_that_knows_no_results_gets_them_after_its_upgrade(answer: HubAnswer | Failed) -> None:
    line = Line(5, answer)
    line.refused = {f"task-{nth}" for nth in range(5)}
    line.stage.run_for(HOUR_MS)
    assert len(line.stage.state.results) == 5
    assert line.stage.evidence == []
    assert len([said for said in line.stage.said if "takes results" in said]) == 1
    assert line.warnings() == []
    line.refused = set()
    assert line.stage.run_until(line.is_empty, within_ms=35_000)


@pytest.mark.parametrize(("others", "over"), [(1, set()), (0, {"report"})])
def test_a_daemon_is_stuck_if_nothing_gets_through_and_not_for_one_result(others: int, over: set[str]) -> None:
    hub = RulesHub()

    def firewall(call: Call) -> tuple[int, HubAnswer | Failed]:
        is_refused = call.path.endswith("/results") and any(r["taskId"] == "bad" for r in call.body["results"])
        return (4, PAGE_403) if is_refused else hub.call(call)

    hub.stage.hub = firewall
    hub.stage.start(main_loop(hub.stage.state))
    for name in ["bad", "good"][: 1 + others]:
        hub.submit(name)
    hub.stage.run_for(15 * MINUTE_MS)
    assert set(hub.stage.state.liveness.stopped()) == over
    assert list(hub.results) == ["good"][:others]
