"""The outside watchdog hears nothing unless alarm, store and outbox were proven alive just before."""

from __future__ import annotations

from io import StringIO
from types import SimpleNamespace
from typing import Any

import pytest

from understudy.clock import ManualClock
from understudy.errors import StoreDownError
from understudy.log import Log
from understudy.runtime.ping import ALARM_STALE_MS, OUTBOX_STALE_MS, Ping, Proofs
from understudy.wire.outbound import HttpAnswer, HttpRequest, NoAnswer, OutboundAnswer

URL = "https://watch.example/secret"


class Stage:
    """A hub in three parts, and the address outside."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.is_writable = True
        self.channel_pause_ms = 0
        self.answer: OutboundAnswer = HttpAnswer(200)
        self.asked: list[Any] = []
        self.alarm = SimpleNamespace(last_ring_mono=self.clock.mono_ms())
        writer = SimpleNamespace(engine=SimpleNamespace(clock=self.clock), decide_blocking=self._decide)
        deliverers = SimpleNamespace(longest_pause_ms=lambda: self.channel_pause_ms)
        self.log = StringIO()
        proofs: Any = SimpleNamespace(writer=writer, alarm=self.alarm, deliverers=deliverers)
        assert set(vars(proofs)) == set(Proofs.__struct_fields__)
        transport: Any = SimpleNamespace(send=self._send)
        self.ping = Ping(URL, 60_000, proofs, transport, Log(self.clock, self.log))

    def _decide(self, *_: Any, **__: Any) -> None:
        if not self.is_writable:
            raise StoreDownError("disk full")

    def _send(self, request: HttpRequest) -> OutboundAnswer:
        self.asked.append(request)
        return self.answer


@pytest.fixture
def stage() -> Stage:
    return Stage()


def test_all_well_is_told(stage: Stage) -> None:
    stage.ping.step()
    assert [(request.method, request.url) for request in stage.asked] == [("GET", URL)]
    assert stage.log.getvalue() == ""


def test_a_store_that_takes_no_write_is_not_well(stage: Stage) -> None:
    stage.is_writable = False
    stage.ping.step()
    assert stage.asked == []
    assert "[CRITICAL]" in stage.log.getvalue()


def test_an_error_that_nobody_expected_ends_one_look_and_not_all_that_follow(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(stage.ping._proofs.writer, "decide_blocking", broken)
    stage.ping.step()
    assert stage.asked == []
    assert "ZeroDivisionError" in stage.log.getvalue()


@pytest.mark.parametrize(("late_ms", "pings"), [(0, 1), (1, 0)])
def test_an_alarm_that_has_not_rung_is_not_well(stage: Stage, late_ms: int, pings: int) -> None:
    stage.clock.advance(ALARM_STALE_MS + late_ms)
    stage.ping.step()
    assert len(stage.asked) == pings


def test_a_channel_that_stands_still_is_not_well(stage: Stage) -> None:
    stage.channel_pause_ms = OUTBOX_STALE_MS + 1
    stage.ping.step()
    assert stage.asked == []


@pytest.mark.parametrize("answer", [HttpAnswer(500), NoAnswer("too slow")])
def test_a_ping_that_is_not_taken_is_a_line_of_the_log_without_its_address(
    stage: Stage, answer: OutboundAnswer
) -> None:
    stage.answer = answer
    stage.ping.step()
    assert "[WARNING]" in stage.log.getvalue()
    assert ("too slow" if isinstance(answer, NoAnswer) else "500") in stage.log.getvalue()
    assert "secret" not in stage.log.getvalue()
