"""The outside watchdog hears nothing unless alarm, store and outbox were proven alive just before."""

from __future__ import annotations

from io import StringIO

import pytest

from understudy.clock import ManualClock
from understudy.errors import StoreDownError
from understudy.hub.starts import ProbeStore
from understudy.hub.watchdog import ALARM_STALE_MS, OUTBOX_STALE_MS, OutsideWatchdog, SignsOfLife
from understudy.log import Log
from understudy.wire.outbound import HttpAnswer, HttpRequest, NoAnswer

URL = "https://watch.example/secret"


class Stage:
    """A hub in three parts, and the address outside."""

    def __init__(self) -> None:
        self.trouble: Exception | None = None
        self.since_ring_ms = self.since_delivery_ms = 0
        self.answer: HttpAnswer | NoAnswer = HttpAnswer(200)
        self.asked: list[HttpRequest] = []
        self.log = StringIO()
        signs = SignsOfLife(lambda: self.since_ring_ms, lambda: self.since_delivery_ms)
        self._watchdog = OutsideWatchdog(URL, 60_000, signs, Log(ManualClock(), self.log))

    def step(self) -> int:
        """One step, driven → how long to wait then."""
        steps = self._watchdog.step()
        try:
            assert isinstance(next(steps), ProbeStore)
            request = steps.throw(self.trouble) if self.trouble else steps.send(None)
            assert isinstance(request, HttpRequest)
            self.asked.append(request)
            steps.send(self.answer)
        except StopIteration as end:
            return int(end.value)
        raise AssertionError("it asks for more than a write and a request")


@pytest.fixture
def stage() -> Stage:
    return Stage()


def test_all_well_is_told(stage: Stage) -> None:
    assert stage.step() == 60_000
    assert [(request.method, request.url) for request in stage.asked] == [("GET", URL)]
    assert stage.log.getvalue() == ""


def test_a_receiver_whose_answer_breaks_off_after_its_status_has_been_told(stage: Stage) -> None:
    stage.answer = NoAnswer("connection cut", begun=HttpAnswer(200))
    stage.step()
    assert stage.log.getvalue() == ""


def test_a_store_that_takes_no_write_is_not_well(stage: Stage) -> None:
    stage.trouble = StoreDownError("disk full")
    assert stage.step() == 60_000
    assert stage.asked == []
    assert "[CRITICAL]" in stage.log.getvalue()


def test_an_error_that_nobody_expected_is_not_well(stage: Stage) -> None:
    stage.trouble = ZeroDivisionError()
    assert stage.step() == 60_000
    assert stage.asked == []
    assert "ZeroDivisionError" in stage.log.getvalue()


@pytest.mark.parametrize(("late_ms", "pings"), [(0, 1), (1, 0)])
def test_an_alarm_that_has_not_rung_is_not_well(stage: Stage, late_ms: int, pings: int) -> None:
    stage.since_ring_ms = ALARM_STALE_MS + late_ms
    stage.step()
    assert len(stage.asked) == pings


def test_a_channel_that_stands_still_is_not_well(stage: Stage) -> None:
    stage.since_delivery_ms = OUTBOX_STALE_MS + 1
    stage.step()
    assert stage.asked == []


@pytest.mark.parametrize("answer", [HttpAnswer(500), NoAnswer("too slow")])
def test_a_ping_that_is_not_taken_is_a_line_of_the_log_without_its_address(
    stage: Stage, answer: HttpAnswer | NoAnswer
) -> None:
    stage.answer = answer
    stage.step()
    assert "[WARNING]" in stage.log.getvalue()
    assert ("too slow" if isinstance(answer, NoAnswer) else "500") in stage.log.getvalue()
    assert "secret" not in stage.log.getvalue()
