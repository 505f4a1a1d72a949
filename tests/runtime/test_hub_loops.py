"""The hub's loops in threads: effects are carried out, their errors raised in the loop; a stop lets last words out."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from tests.waiting import eventually
from understudy.clock import ManualClock
from understudy.coordinator.nouns import Notice
from understudy.errors import StoreError
from understudy.hub.operation import Operation
from understudy.hub.outbox import SettleNotice
from understudy.hub.starts import RecordHearing
from understudy.hub.steps import Beside, Read, Steps
from understudy.notify.base import Sent
from understudy.runtime.hub.loops import HubLoop
from understudy.wire.outbound import HttpAnswer, HttpRequest

PING = HttpRequest("GET", "http://x/")
LAST_WORD = SettleNotice(Notice("n1", "ops", "notice", "daemon.down"), Sent("ref"))


class Means:
    """A writer, a store and a network that note what they were asked."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.trouble: Exception | None = None
        self.is_stopping = False
        self.engine = SimpleNamespace(clock=ManualClock(), store=SimpleNamespace(read=lambda show: show("the reader")))

    def decide_blocking(self, operation: Operation) -> str:
        self.asked.append(operation)
        if self.trouble is not None:
            raise self.trouble
        return "decided"

    def send(self, request: HttpRequest) -> HttpAnswer:
        self.asked.append(request)
        return HttpAnswer(204)

    def loop(self, steps: Callable[[], Steps], troubles: list[Exception] | None = None) -> HubLoop:
        means: Any = self
        return HubLoop("loop", steps, means, means, (troubles if troubles is not None else []).append)


@pytest.fixture
def means() -> Means:
    return Means()


def test_each_effect_is_answered_and_the_pause_is_what_the_steps_return(means: Means) -> None:
    answers = []

    def steps() -> Steps:
        answers.extend([(yield RecordHearing()), (yield Read(lambda reader: reader)), (yield PING)])
        return 7

    assert means.loop(steps).safe_step() == 7
    assert answers == ["decided", "the reader", HttpAnswer(204)]


def test_what_an_effect_raises_is_raised_in_the_steps(means: Means) -> None:
    means.trouble = StoreError("full")

    def steps() -> Steps:
        with pytest.raises(StoreError):
            yield RecordHearing()
        return 7

    assert means.loop(steps).safe_step() == 7


@pytest.mark.parametrize("how", ["the loop is stopped", "the hub is stopping"])
def test_once_it_is_over_only_last_words_go_out(means: Means, how: str) -> None:
    def steps() -> Steps:
        if how == "the loop is stopped":
            loop.stop()
        means.is_stopping = how == "the hub is stopping"
        yield LAST_WORD
        yield PING
        raise AssertionError("it went on")

    loop = means.loop(steps)
    assert loop.safe_step() == 0
    assert means.asked == [LAST_WORD]


def test_what_runs_beside_a_loop_wakes_it_at_its_end(means: Means) -> None:
    def call() -> Steps:
        yield PING
        return 0

    turns: list[str] = []

    def steps() -> Steps:
        turns.append((yield Beside("call", call())) if not turns else "woken")
        return 3_600_000

    loop = means.loop(steps)
    loop.start()
    eventually(lambda: turns == ["", "woken"], what="the turn after the call")
    loop.stop()
    loop.join(60)
    assert means.asked == [PING]


def test_what_breaks_beside_a_loop_is_told(means: Means) -> None:
    troubles: list[Exception] = []

    def call() -> Steps:
        yield PING
        raise ZeroDivisionError

    def steps() -> Steps:
        yield Beside("call", call())
        return 0

    means.loop(steps, troubles).safe_step()
    eventually(lambda: troubles, what="the trouble")
    assert isinstance(troubles[0], ZeroDivisionError)


def test_a_machine_without_threads_is_an_answer(means: Means, monkeypatch: pytest.MonkeyPatch) -> None:
    def scarce(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    why = []

    def steps() -> Steps:
        why.append((yield Beside("call", steps())))
        return 0

    loop = means.loop(steps)
    monkeypatch.setattr(threading.Thread, "start", scarce)
    loop.safe_step()
    assert why == ["can't start new thread"]
