"""A hub without sockets: the engine on a store in memory, with a clock that stands until it is moved."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from understudy.clock import ManualClock
from understudy.coordinator.nouns import Policy
from understudy.hub.alarm import RingAlarm
from understudy.hub.batch import Engine
from understudy.hub.operation import Operation
from understudy.ids import IdMaker
from understudy.store.base import EventFilter
from understudy.store.sqlite import SqliteStore
from understudy.wire.answers.base import Answer

ROUNDS_MAX = 50  # one takes hundreds of rows


class Bench:
    """An engine, its clock, and shortcuts to ask it things."""

    def __init__(
        self, policy: Policy | None = None, store: SqliteStore | None = None, clock: ManualClock | None = None
    ) -> None:
        self.clock = clock or ManualClock()
        self.store = store or SqliteStore(None)
        self.ids = IdMaker(self.clock, random.Random(7).getrandbits)
        self.engine = Engine(self.store, self.clock, self.ids, policy or Policy())

    def ask(self, *operations: Operation) -> list[Any]:
        """The answers of one batch, those to clients as they read them; a refusal is its exception."""
        return [as_read(answer) for answer in self.engine.run(operations).answers]

    def pass_time(self, ms: int) -> None:
        """Let time pass while the hub hears, then ring the alarm until nothing is due."""
        while ms > 0:
            step = min(ms, 1_000)
            self.clock.advance(step)
            ms -= step
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


@pytest.fixture
def hub() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.store.close()
