"""A hub without sockets: the engine on a store in memory, with a clock that stands until it is moved."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from tests.hearing import LISTENED, heard_meanwhile
from tests.stores import all_closed, backend, backend_of_all, new_store, on_both, pool
from understudy.clock import ManualClock
from understudy.coordinator.nouns import Policy
from understudy.hub.alarm import RingAlarm
from understudy.hub.batch import Engine
from understudy.hub.operation import Operation
from understudy.ids import IdMaker
from understudy.store.base import EventFilter, Store
from understudy.wire.answers.base import Answer

__all__ = ["all_closed", "backend", "backend_of_all", "pool"]
# What is asked of both backends, all of a module where nothing is named: each second of a hub is a transaction.
ON_BOTH = {
    "test_alarm_loop": (),
    "test_batch": (),
    "test_beside": (),
    "test_bounds": (),
    "test_budget": ("reserves", "bear", "minute_and_at_once", "see_each_other", "free_price"),
    "test_claim_room": (),
    "test_clock_jumps": (
        "tried_again", "took_and_lost", "delay_lasts", "named", "right_after", "quiet_hours", "being_sent",
    ),
    "test_daemon_lists": (),
    "test_full_results": (),
    "test_links": (),
    "test_notices": (
        "one_warning", "committed_with", "more_than_five", "snoozed", "in_the_middle", "forget", "many_answers",
    ),
    "test_numbers": (),
    "test_outbox": (
        "eight_seconds", "refused", "no_other_sends", "died", "too_late", "goes_on", "on_its_way", "days", "any_number",
        "counts_once",
    ),
    "test_repetitions": (),
    "test_reserved": ("hides", "share", "in_the_order", "nothing_that_waits"),
    "test_shares": (),
    "test_takeover": (
        "labelled", "while_a_daemon", "never_closed", "meanwhile", "returns", "wakes", "comes_after", "failed_call",
        "twice", "crash", "nobody_settles", "remembered", "does_not_forget",
    ),
    "test_takeover_loop": (),
    "test_two_hubs": (),
}  # fmt: skip
STEP_MS, STEP_OF_SHARED_MS = 1_000, 1_900  # a hub that looks less often than every 2 s has been away
ROUNDS_MAX = 50  # one takes hundreds of rows


class Bench:
    """An engine, its clock, and shortcuts to ask it things."""

    def __init__(
        self, policy: Policy | None = None, store: Store | None = None, clock: ManualClock | None = None
    ) -> None:
        self.clock = clock or ManualClock()
        self.store = store or new_store()
        self.ids = IdMaker(self.clock, random.Random(7).getrandbits)
        self.engine = Engine(self.store, self.clock, self.ids, policy or Policy())

    def ask(self, *operations: Operation) -> list[Any]:
        """The answers of one batch, those to clients as they read them; a refusal is its exception."""
        return [as_read(answer) for answer in self.engine.run(operations).answers]

    def pass_time(self, ms: int) -> None:
        """Let time pass while the hub hears, then ring the alarm until nothing is due (tests/hearing.py)."""
        heard = 0
        while ms > 0:
            step = min(ms, STEP_OF_SHARED_MS if self.store.is_shared else STEP_MS)
            if heard >= LISTENED:
                step, heard = max(step, heard_meanwhile(self.store, self.clock, ms)), 0
            self.clock.advance(step)
            ms -= step
            heard += 1
            self.finish(RingAlarm)

    def finish(self, operation: type[Operation]) -> None:
        """Ask it again while it says that there is more. AssertionError if it never ends; its exception if it fails."""
        for _ in range(ROUNDS_MAX):
            (answer,) = self.ask(operation())
            if isinstance(answer, BaseException):
                raise answer
            if not answer:
                return
        raise AssertionError(f"there is still more to do after {ROUNDS_MAX} rounds of {operation.__name__}")

    def events(self, name: str) -> list[dict[str, Any]]:
        """The fields of all events of that name."""
        rows = self.store.read(lambda tx: tx.list_events(EventFilter(limit=1000)))
        return [row.event.fields for row in rows if row.event.name == name]


def as_read(answer: Any) -> Any:
    """An answer to a client as the client reads it; anything else as it is."""
    if isinstance(answer, list):
        return [as_read(part) for part in answer]
    return msgspec.json.decode(msgspec.json.encode(answer)) if isinstance(answer, Answer) else answer


@pytest.fixture(autouse=True)
def nothing_is_left_open(all_closed: None) -> None:
    """Nothing works by itself here."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    on_both(metafunc, ON_BOTH)


@pytest.fixture
def hub() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.store.close()
