"""Events of several hubs in their order: none is skipped, none comes twice, and nothing waits for ever."""

from __future__ import annotations

import random

import pytest

from tests.seeds import SEED
from understudy.coordinator.changes import Event
from understudy.hub.settled import Settled
from understudy.store.base import StoredEvent


def event(place: int) -> StoredEvent:
    return StoredEvent(place, Event(0, "info", "task.queued", "Queue API", "x", {}))


class Log:
    """An event log with open transactions: places are given before the commit."""

    def __init__(self) -> None:
        self.next_place = 1
        self.open: dict[str, list[int]] = {}
        self.seen: list[int] = []
        self._marks = 0

    def begin(self) -> str:
        self._marks += 1
        self.open[f"3/{self._marks}"] = []
        return f"3/{self._marks}"

    def append(self, mark: str) -> int:
        self.open[mark].append(self.next_place)
        self.next_place += 1
        return self.next_place - 1

    def end(self, mark: str, *, commits: bool = True) -> None:
        places = self.open.pop(mark)
        if commits:
            self.seen = sorted([*self.seen, *places])

    def after(self, place: int, limit: int = 500) -> list[StoredEvent]:
        return [event(seen) for seen in self.seen if seen > place][:limit]

    def marks(self) -> frozenset[str]:
        return frozenset(self.open)


def begun(log: Log) -> Settled:
    settled = Settled(log.seen[-1] if log.seen else 0)
    while settled.is_beginning:
        look(settled, log)
    return settled


def look(settled: Settled, log: Log, limit: int = 500) -> list[int]:
    """One look as the loop takes it."""
    if settled.wants_open:
        settled.note_open(log.marks())
    if settled.is_at_gap:
        settled.let_go(log.marks())
    taken = settled.take(log.after(settled.last_id or -1, limit)) if not settled.is_beginning else []
    return [stored.id for stored in taken]


def test_what_follows_without_a_gap_comes_at_once() -> None:
    log = Log()
    settled = begun(log)
    first, second = log.begin(), log.begin()
    assert log.append(first) == 1
    log.end(first)
    assert look(settled, log) == [1], "an open transaction without a place before it delays nothing"
    assert log.append(second) == 2
    log.end(second)
    assert look(settled, log) == [2]


def test_a_lower_place_that_is_committed_later_is_waited_for() -> None:
    log = Log()
    settled = begun(log)
    slow, fast = log.begin(), log.begin()
    log.append(slow)
    log.append(fast)
    log.end(fast)
    assert look(settled, log) == []
    assert look(settled, log) == []
    log.end(slow)
    assert look(settled, log) == [1, 2]


def test_places_that_were_rolled_back_are_passed_over() -> None:
    log = Log()
    settled = begun(log)
    lost, other = log.begin(), log.begin()
    log.append(lost)
    log.append(other)
    log.end(other)
    assert look(settled, log) == []
    log.end(lost, commits=False)
    assert look(settled, log) == [2]


def test_a_transaction_that_begins_after_the_gap_delays_nothing() -> None:
    log = Log()
    settled = begun(log)
    lost, other = log.begin(), log.begin()
    log.append(lost)
    log.append(other)
    log.end(other)
    look(settled, log)
    look(settled, log)
    log.end(lost, commits=False)
    late = log.begin()
    log.append(late)
    assert look(settled, log) == [2]
    log.end(late)
    assert look(settled, log) == [3]


def test_a_reader_who_begins_waits_for_what_is_open_before_its_place() -> None:
    log = Log()
    slow, fast = log.begin(), log.begin()
    log.append(slow)
    log.append(fast)
    log.end(fast)
    settled = Settled(2)
    look(settled, log)
    assert settled.is_beginning
    log.end(slow)
    look(settled, log)
    assert (settled.is_beginning, settled.last_id) == (False, 2), "what came before is history, and whole"


@pytest.mark.parametrize("number", range(40))
def test_nothing_is_skipped_whatever_the_order(number: int) -> None:
    chance = random.Random(f"{SEED}:{number}")
    log = Log()
    settled = begun(log)
    got: list[int] = []
    for _ in range(400):
        act = chance.random()
        if act < 0.25 and len(log.open) < 5:
            log.begin()
        elif act < 0.6 and log.open:
            log.append(chance.choice(list(log.open)))
        elif act < 0.8 and log.open:
            log.end(chance.choice(list(log.open)), commits=chance.random() < 0.7)
        else:
            got += look(settled, log, limit=chance.choice([1, 3, 500]))
    for mark in list(log.open):
        log.end(mark)
    while settled.last_id < max(log.seen, default=0):
        got += look(settled, log)
    assert got == log.seen
