"""The alarm's loop: it sleeps until the nearest deadline, and is woken when an earlier one appears."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest

from understudy.clock import ManualClock
from understudy.coordinator.nouns import Hearing, Policy
from understudy.errors import StoreError
from understudy.hub.batch import Engine
from understudy.hub.enqueue import Enqueue
from understudy.hub.heartbeats import Heartbeat
from understudy.ids import IdMaker
from understudy.runtime.alarm import PURGE_PAUSE_MS, Alarm
from understudy.runtime.writer import Writer
from understudy.store.base import EventFilter
from understudy.store.sqlite import SqliteStore
from understudy.wire.daemons import HeartbeatBody
from understudy.wire.tasks import EnqueueBody


class Stand:
    """A writer thread and an alarm whose steps the test takes itself."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.store = SqliteStore(None)
        ids = IdMaker(self.clock, random.Random(1).getrandbits)
        self.writer = Writer(Engine(self.store, self.clock, ids, Policy()), lambda _: None)
        self.alarm = Alarm(self.writer, lambda _: None)
        self.writer.start(None)

    def step(self) -> int:
        """One step, and the portions of retention that follow it."""
        while (pause_ms := self.alarm.step()) == PURGE_PAUSE_MS:
            pass
        return pause_ms

    def ask(self, operation: Any) -> Any:
        return self.writer.decide_blocking(operation)

    def hearing(self) -> Hearing:
        return self.store.read(lambda tx: tx.load_many(Hearing, (1,)))[0]

    def names(self) -> list[str]:
        return [row.event.name for row in self.store.read(lambda tx: tx.list_events(EventFilter(limit=500)))]


@pytest.fixture
def stand() -> Iterator[Stand]:
    stand = Stand()
    yield stand
    stand.writer.stop()
    stand.store.close()


def beat() -> Heartbeat:
    return Heartbeat(HeartbeatBody(daemon_id="d1", machine_id="m", boot_id="b", seq=1, interval_sec=10))


def test_an_idle_hub_sleeps_a_minute_and_hears_nothing(stand: Stand) -> None:
    assert stand.step() == 60_000
    assert stand.hearing().idle == 1


def test_the_first_watched_daemon_makes_it_listen_every_second(stand: Stand) -> None:
    stand.step()
    stand.ask(beat())
    assert stand.step() == 1_000
    for _ in range(170):
        stand.clock.advance(1_000)
        stand.step()
    assert stand.hearing().heard_at == stand.clock.now_ms()
    assert "hub.gap" not in stand.names()


def test_it_rings_at_the_deadline_and_the_sleep_before_it_ends_there(stand: Stand) -> None:
    stand.step()
    stand.ask(beat())
    for _ in range(179):
        stand.clock.advance(1_000)
        assert stand.step() <= 1_000
    stand.clock.advance(500)
    assert stand.step() == 500
    assert "daemon.late" not in stand.names()
    stand.clock.advance(500)
    stand.step()
    assert "daemon.late" in stand.names()


def test_a_delayed_task_shortens_the_sleep(stand: Stand) -> None:
    stand.step()
    stand.ask(Enqueue([EnqueueBody("later", delay_sec=2.5)], ["t"], "k"))
    assert stand.step() == 2_500
    stand.clock.advance(2_500)
    assert stand.store.read(lambda tx: tx.ready_count(9)) == 0
    stand.step()
    assert stand.store.read(lambda tx: tx.ready_count(9)) == 1


def test_a_deadline_that_appears_while_it_looks_is_not_overslept(stand: Stand) -> None:
    ring = stand.store.read

    def meanwhile(fn: Any) -> Any:
        answer = ring(fn)
        stand.store.read = ring  # type: ignore[method-assign]
        stand.ask(Enqueue([EnqueueBody("soon", delay_sec=1)], ["t"], "k"))
        return answer

    stand.store.read = meanwhile  # type: ignore[method-assign]
    assert stand.step() == 1_000


def test_a_bug_in_another_request_does_not_end_the_alarm(stand: Stand) -> None:
    stand.step()
    stand.writer.engine.run = lambda _: 1 / 0  # type: ignore[method-assign, assignment, return-value]
    stand.clock.advance(60_000)
    assert stand.alarm.safe_step() == 500


def test_after_a_store_failure_everything_is_looked_at_again(stand: Stand) -> None:
    stand.step()
    stand.ask(Enqueue([EnqueueBody("soon", delay_sec=1)], ["t"], "k"))
    stand.clock.advance(1_000)
    real = stand.store.transaction

    def fail(fn: Any) -> Any:
        raise StoreError("disk full")

    stand.store.transaction = fail  # type: ignore[method-assign]
    assert stand.alarm.safe_step() == 500
    stand.store.transaction = real  # type: ignore[method-assign]
    stand.alarm.safe_step()
    assert stand.store.read(lambda tx: tx.ready_count(9)) == 1


def test_it_turns_even_if_the_store_fails_and_does_not_once_it_stands_still(stand, monkeypatch):
    """What a supervisor is told: a full disk is no reason to start a hub anew, a loop that hangs is."""

    def refuse():
        raise StoreError("the disk is full")

    monkeypatch.setattr(stand.alarm, "step", refuse)
    for _ in range(5):
        stand.clock.advance(60_000)
        stand.alarm.safe_step()
        assert stand.alarm.is_turning()
    stand.clock.advance(2 * 60_000)
    assert stand.alarm.is_turning()
    stand.clock.advance(1)
    assert not stand.alarm.is_turning()
