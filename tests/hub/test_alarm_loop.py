"""The alarm's loop: it sleeps until the nearest deadline, and is woken when an earlier one appears."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from understudy.clock import ManualClock
from understudy.coordinator.changes import Decision
from understudy.coordinator.nouns import Evidence, Hearing, Policy
from understudy.coordinator.retention import purge_plan
from understudy.errors import StoreDownError, StoreError, UnavailableError
from understudy.hub.alarm import RingAlarm
from understudy.hub.alarm_loop import (
    CROWD_MS,
    LISTEN_EVERY_MS,
    LOOK_EVERY_MS,
    PURGE_EVERY_MS,
    PURGE_PAUSE_MS,
    Alarm,
)
from understudy.hub.batch import Engine
from understudy.hub.enqueue import EnqueueTasks
from understudy.hub.heartbeats import RecordHeartbeat
from understudy.hub.retention import PurgeRows
from understudy.hub.starts import LogMinute
from understudy.hub.steps import Read
from understudy.ids import IdMaker
from understudy.store.base import EventFilter
from understudy.store.queries import READY
from understudy.store.sqlite import SqliteStore
from understudy.wire.daemons import HeartbeatBody
from understudy.wire.tasks import EnqueueBody

HOUR = 3_600_000


class Stand:
    """An alarm whose steps the test takes itself."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.store = SqliteStore(None)
        self.start_anew()
        self.woken = 0
        self.ring_ms = 0  # that a ring takes

    def start_anew(self) -> None:
        """Another process on this store."""
        ids = IdMaker(self.clock, random.Random(1).getrandbits)
        self.engine = Engine(self.store, self.clock, ids, Policy())
        self.troubles: list[Exception] = []
        self.alarm = Alarm(self.engine, self.troubles.append)

    def step(self) -> int:
        """One step, and the portions of retention that follow it."""
        while (pause_ms := self.take()) == PURGE_PAUSE_MS:
            pass
        return pause_ms

    def take(self) -> int:
        """One step, its effects carried out at once; what fails in it is raised in it."""
        steps = self.alarm.step()
        answer: Any = None
        while True:
            try:
                effect = steps.throw(answer) if isinstance(answer, Exception) else steps.send(answer)
            except StopIteration as end:
                return int(end.value)
            try:
                answer = self.store.read(effect.show) if isinstance(effect, Read) else self.ask(effect)
            except Exception as error:  # noqa: BLE001 - whatever it is, the loop hears of it
                answer = error

    def ask(self, operation: Any) -> Any:
        committed = self.engine.run([operation])
        if isinstance(operation, RingAlarm):
            self.clock.advance(self.ring_ms)
        self.woken += self.alarm.look_at(committed)
        (answer,) = committed.answers
        if isinstance(answer, Exception):
            raise answer
        return answer

    def hearing(self) -> Hearing:
        return self.store.read(lambda tx: tx.load_many(Hearing, (1,)))[0]

    def names(self) -> list[str]:
        return [row.event.name for row in self.store.read(lambda tx: tx.list_events(EventFilter(limit=500)))]


@pytest.fixture
def stand() -> Iterator[Stand]:
    stand = Stand()
    yield stand
    stand.store.close()


def beat() -> RecordHeartbeat:
    return RecordHeartbeat(HeartbeatBody(daemon_id="d1", machine_id="m", boot_id="b", seq=1, interval_sec=10))


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
    stand.ask(EnqueueTasks([EnqueueBody("later", delay_sec=2.5)], ["t"], "k"))
    assert stand.step() == 2_500
    stand.clock.advance(2_500)
    assert stand.store.read(lambda tx: tx.count(READY, limit=9)) == 0
    stand.step()
    assert stand.store.read(lambda tx: tx.count(READY, limit=9)) == 1


def test_only_a_deadline_before_all_that_were_announced_wakes_it(stand: Stand) -> None:
    stand.step()
    woken = []
    for nth, delay_sec in enumerate((30, 30, 40, 29, 29.5)):
        before = stand.woken
        stand.ask(EnqueueTasks([EnqueueBody("later", delay_sec=delay_sec)], [f"t{nth}"], "k"))
        woken.append(stand.woken - before)
    assert woken == [1, 0, 0, 1, 0]
    stand.clock.advance(29_000)
    assert stand.step() == 500, "its ring finds those that were no news"


def test_deadlines_that_come_one_after_the_other_are_all_met(stand: Stand) -> None:
    """A thousand machines behind one switch fall silent within seconds: each ring finds the next one overdue."""
    stand.step()
    for nth in range(40):
        stand.ask(EnqueueTasks([EnqueueBody("later", delay_sec=10 + nth * 0.004)], [f"t{nth}"], "k"))
    stand.clock.advance(10_000)
    stand.ring_ms = 6
    pauses = []
    while stand.store.read(lambda tx: tx.count(READY, limit=99)) < 40:
        pauses.append(stand.step())
        stand.clock.advance(pauses[-1])
    assert len(pauses) > 3
    assert max(pauses[:-1]) <= CROWD_MS


def test_a_deadline_that_no_ring_takes_away_is_looked_at_once_a_second(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand.step()
    stand.ask(EnqueueTasks([EnqueueBody("later", delay_sec=10)], ["t"], "k"))
    stand.clock.advance(10_000)
    monkeypatch.setattr(RingAlarm, "decide", lambda *_: Decision(answer=False))
    assert [stand.step() for _ in range(4)] == [0, LISTEN_EVERY_MS, LISTEN_EVERY_MS, LISTEN_EVERY_MS]


def test_a_deadline_that_appears_while_it_looks_is_not_overslept(stand: Stand) -> None:
    ring = stand.store.read

    def meanwhile(fn: Any) -> Any:
        answer = ring(fn)
        stand.store.read = ring  # type: ignore[method-assign]
        stand.ask(EnqueueTasks([EnqueueBody("soon", delay_sec=1)], ["t"], "k"))
        return answer

    stand.store.read = meanwhile  # type: ignore[method-assign]
    assert stand.step() == 1_000


def test_after_a_store_failure_everything_is_looked_at_again(stand: Stand) -> None:
    stand.step()
    stand.ask(EnqueueTasks([EnqueueBody("soon", delay_sec=1)], ["t"], "k"))
    stand.clock.advance(1_000)
    real = stand.store.transaction

    def fail(fn: Any, *, alone: bool = True) -> Any:
        raise StoreError("disk full")

    stand.store.transaction = fail  # type: ignore[method-assign]
    with pytest.raises(StoreError):
        stand.take()
    stand.store.transaction = real  # type: ignore[method-assign]
    stand.take()
    assert stand.store.read(lambda tx: tx.count(READY, limit=9)) == 1


def test_a_minute_that_could_not_be_written_is_in_the_next_one_that_can(stand: Stand) -> None:
    """Else the plots would have a gap just where the store was in trouble."""
    stand.step()
    stand.ask(beat())
    stand.alarm._tally.requests += 5
    stand.alarm._tally.committed(7)
    stand.clock.advance(LOOK_EVERY_MS)
    logged: list[LogMinute] = []
    real = stand.ask

    def ask(operation: Any) -> Any:
        if isinstance(operation, LogMinute):
            logged.append(operation)
            if len(logged) == 1:
                raise StoreDownError("disk full")
        return real(operation)

    stand.ask = ask  # type: ignore[method-assign]
    with pytest.raises(StoreError):
        stand.take()
    stand.take()
    first, second = (operation.sample for operation in logged)
    assert (second.beats, second.requests, second.commits, second.commit_max_ms) == (1, 5, 1, 7)
    assert (first.beats, first.requests) == (1, 5)
    stand.clock.advance(LOOK_EVERY_MS)
    stand.take()
    assert (logged[-1].sample.beats, logged[-1].sample.requests) == (0, 0)


def test_retention_that_could_not_begin_is_tried_with_the_next_step(stand: Stand) -> None:
    mono = stand.clock.mono_ms()
    steps = stand.alarm._purge_a_little(mono)
    assert isinstance(next(steps), Read)
    with pytest.raises(StoreError):
        steps.throw(StoreError("disk full"))
    assert isinstance(next(stand.alarm._purge_a_little(mono)), Read)


@pytest.mark.parametrize(("days", "hours"), [(60, 24), (2, 2)])
def test_a_hub_that_starts_long_after_it_heard_last_removes_nothing_for_a_while(
    stand: Stand, days: int, hours: int
) -> None:
    """Its clock may be wrong, and everything too old by it."""
    old = Evidence("e", "t", 1, "w", stand.clock.now_ms() - 29 * 24 * HOUR, "late", "{}")
    stand.store.transaction(lambda tx: tx.save_many([old]))
    stand.step()
    stand.clock.jump(days * 24 * HOUR)
    stand.start_anew()
    stand.step()
    stand.clock.advance(hours * HOUR - 1)
    stand.step()
    assert stand.store.read(lambda tx: tx.load_all(Evidence, 9)) == [old]
    stand.clock.advance(1)
    stand.step()
    assert stand.store.read(lambda tx: tx.load_all(Evidence, 9)) == []


@pytest.mark.parametrize("is_watched", [False, True])
@pytest.mark.parametrize("is_put_right", [False, True])
def test_a_start_within_that_while_does_not_end_it(stand: Stand, *, is_watched: bool, is_put_right: bool) -> None:
    """What was heard last is as wrong as the clock by then."""
    old = Evidence("e", "t", 1, "w", stand.clock.now_ms() - 29 * 24 * HOUR, "late", "{}")
    stand.store.transaction(lambda tx: tx.save_many([old]))
    if is_watched:
        stand.ask(beat())
    stand.step()
    stand.clock.jump(3650 * 24 * HOUR)
    stand.start_anew()
    stand.step()
    stand.clock.advance(1_000)
    if is_put_right:
        stand.clock.jump(-3650 * 24 * HOUR)
    stand.start_anew()
    stand.step()
    assert stand.store.read(lambda tx: tx.load_all(Evidence, 9)) == [old]
    left_ms = stand.engine.unsure_until_mono - stand.clock.mono_ms()
    assert left_ms == pytest.approx(24 * HOUR, abs=2_000)


def test_an_absence_within_that_while_does_not_count(stand: Stand) -> None:
    stand.step()
    stand.clock.jump(60 * 24 * HOUR)
    stand.start_anew()
    stand.step()
    stand.clock.jump(20 * HOUR)
    stand.start_anew()
    stand.step()
    assert stand.engine.unsure_until_mono - stand.clock.mono_ms() == 24 * HOUR


def test_what_was_about_to_be_removed_when_the_clock_jumped_is_not_removed_after_that_while(stand: Stand) -> None:
    stand.take()
    assert stand.alarm._purges
    stand.clock.jump(60 * 24 * HOUR)
    stand.clock.advance(LOOK_EVERY_MS)
    stand.take()
    assert stand.engine.unsure_until_mono > stand.clock.mono_ms()
    assert stand.alarm._purges == []


def test_a_hub_that_sleeps_for_moments_removes_things_in_each_life(stand: Stand) -> None:
    """On Cloudflare each bell may find another process, which makes one step."""
    stand.step()
    old = Evidence("e", "t", 1, "w", stand.clock.now_ms() - 99 * 24 * HOUR, "late", "{}")
    stand.store.transaction(lambda tx: tx.save_many([old]))
    stand.clock.advance(60_000)
    stand.start_anew()
    stand.step()
    assert stand.store.read(lambda tx: tx.load_all(Evidence, 9)) == []


class Broken:
    """What one kind of operation meets, and what the others do."""

    def __init__(self, stand: Stand, error: Exception, is_broken: Callable[[Any], bool]) -> None:
        self.purged: list[str] = []
        self._real, self._error, self._is_broken = stand.ask, error, is_broken
        stand.ask = self._ask  # type: ignore[method-assign]

    def _ask(self, operation: Any) -> Any:
        if isinstance(operation, PurgeRows):
            self.purged.append(operation.what)
        if self._is_broken(operation):
            raise self._error
        return self._real(operation)


def planned(stand: Stand) -> list[str]:
    return [what for what, _ in reversed(purge_plan(stand.engine.policy, 0))]


def test_rows_that_cannot_be_removed_keep_no_others(stand: Stand) -> None:
    broken = Broken(
        stand, StoreError("disk I/O error"), lambda one: isinstance(one, PurgeRows) and one.what == "memory"
    )
    assert stand.step() > PURGE_PAUSE_MS
    assert broken.purged == planned(stand)
    assert [str(trouble) for trouble in stand.troubles] == ["disk I/O error"]
    stand.clock.advance(PURGE_EVERY_MS)
    stand.step()
    assert broken.purged == planned(stand) * 2, "it is tried again"


@pytest.mark.parametrize("error", [StoreDownError("disk full"), UnavailableError("The hub is overloaded")])
def test_retention_that_nothing_could_do_now_is_done_when_it_can(stand: Stand, error: Exception) -> None:
    is_down = [True]
    broken = Broken(stand, error, lambda one: isinstance(one, PurgeRows) and is_down[0])
    for _ in range(2):
        with pytest.raises(UnavailableError):
            stand.take()
    assert (set(broken.purged), stand.troubles) == ({planned(stand)[0]}, [])
    is_down.clear()
    is_down.append(False)
    stand.step()
    assert broken.purged[2:] == planned(stand)


def test_a_minute_that_cannot_be_written_keeps_nothing_from_being_removed(stand: Stand) -> None:
    stand.step()
    stand.ask(beat())
    stand.clock.advance(PURGE_EVERY_MS)
    logged: list[LogMinute] = []
    broken = Broken(stand, StoreError("disk I/O error"), lambda one: isinstance(one, LogMinute) and not logged)
    stand.step()
    assert broken.purged == planned(stand)
    assert [str(trouble) for trouble in stand.troubles] == ["disk I/O error"]
    stand.step()
    assert len(stand.troubles) == 1, "it is tried again a minute later"
    stand.clock.advance(LOOK_EVERY_MS)
    real = stand.ask
    stand.ask = lambda one: (logged.append(one) if isinstance(one, LogMinute) else None, real(one))[1]  # type: ignore[method-assign]
    stand.step()
    assert [operation.sample.beats for operation in logged] == [1], "it has what could not be written"
