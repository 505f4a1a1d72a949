"""A hub that is put to sleep, attacked: events at one instant, alarms that come again, a storage that refuses."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.cloudflare.evicted import ENVIRONMENT, NEVER, Place, on_a_loop
from tests.store.durable_storage import Buffer, JsError, Sql
from understudy.cloudflare.hub_object import HubObject
from understudy.config.policy import HubInputs
from understudy.errors import StoreError, UnderstudyError
from understudy.log import Log
from understudy.runtime.one_loop.hub import OneLoopHub
from understudy.runtime.one_loop.woken import START_AGAIN_MS
from understudy.store.durable import DurableStore

FULL = "database or disk is full: SQLITE_FULL"
HEALTH = ("daemon.late", "daemon.recovered", "hub.gap")
LATE_AFTER_MS = 20_000
ASK_EVERY_MS = 700
CLAIM = {"workerId": "w", "provides": ["gpu"]}


async def told(place: Place) -> list[str]:
    return [name for name in await place.names() if name in HEALTH]


async def stay_awake(place: Place, ms: int, ask: Callable[[], Awaitable[Any]]) -> None:
    """Time in which the object stays in memory, and is asked something each 700 ms."""
    end = place.clock.now_ms() + ms
    while place.clock.now_ms() + ASK_EVERY_MS <= end:
        await place.pass_until(place.clock.now_ms() + ASK_EVERY_MS)
        await ask()
    await place.pass_until(end)


class Refusing:
    """`ctx.storage.sql` that refuses one statement of the next ones, as a full disk does."""

    def __init__(self, sql: Sql) -> None:
        self._sql = sql
        self.left = -1  # statements until then; below 0: none is refused

    @property
    def databaseSize(self) -> int:  # noqa: N802
        return self._sql.databaseSize

    def exec(self, query: str, *values: Any) -> Any:
        self.left -= 1
        if self.left == 0:
            raise JsError(FULL)
        return self._sql.exec(query, *values)


def refuse(place: Place, nth: int) -> Refusing:
    """Have the object that is there now refused its nth statement from here on."""
    store: Any = place.hub._hub.store  # type: ignore[union-attr]
    refusing = Refusing(store._transaction._sql)
    refusing.left = nth
    store._transaction._sql = refusing
    return refusing


# ---- awake


@on_a_loop
async def test_a_hub_that_stays_awake_and_has_nothing_to_write_keeps_its_promise(place: Place) -> None:
    await place.beat(1)
    for seq in range(2, 6):
        await stay_awake(place, 10_000, lambda: place.ask("POST", "/api/queue/claim", CLAIM))
        await place.beat(seq)
    assert await told(place) == []


@on_a_loop
async def test_an_alarm_and_a_beat_at_one_instant_make_no_gap_and_no_lost_deadline(place: Place) -> None:
    for seq in range(1, 12):
        await place.beat(seq)
        await place.pass_until(place.bell_at - 1)
        place.clock.advance(1)
        if seq % 3 == 0:
            place.evict()
        place.bell_at = NEVER
        steps = [place.hub.ring(), place.beat(100 + seq)]
        await asyncio.gather(*(steps if seq % 2 else reversed(steps)))
        await place.settle()
    assert await told(place) == []
    await place.pass_until(place.clock.now_ms() + LATE_AFTER_MS)
    assert await told(place) == ["daemon.late"]


@on_a_loop
async def test_two_alarms_in_a_row_are_as_one(place: Place) -> None:
    await place.beat(1)
    await place.sleep_through(LATE_AFTER_MS - 1)
    place.clock.advance(1)
    await asyncio.gather(place.hub.ring(), place.hub.ring())
    place.evict()
    await place.hub.ring()
    await place.settle()
    assert await told(place) == ["daemon.late"]


@pytest.mark.parametrize("is_first", [True, False])
def test_a_beat_at_the_very_instant_of_the_deadline_after_sleep_is_in_time_or_ends_an_incident(is_first: bool) -> None:
    @on_a_loop
    async def meet(place: Place) -> None:
        await place.beat(1)
        await place.sleep_through(LATE_AFTER_MS - 1)
        place.clock.advance(1)
        steps = [place.beat(2), place.hub.ring()]
        await asyncio.gather(*(steps if is_first else reversed(steps)))
        await place.settle()
        assert await told(place) in ([], ["daemon.late", "daemon.recovered"])
        await place.sleep_through(LATE_AFTER_MS - 1)
        assert (await told(place))[-1:] != ["daemon.late"]
        await place.sleep_through(1)
        assert (await told(place))[-1:] == ["daemon.late"]

    meet()


# ---- a storage that refuses


@on_a_loop
async def test_a_full_disk_in_the_middle_of_a_batch_keeps_nothing_of_it_and_the_next_one_works(place: Place) -> None:
    await place.beat(1)
    requests: list[tuple[str, Any]] = [
        ("/api/queue", {"id": "t1", "content": "x", "dedupKey": "d"}),
        ("/api/queue/claim", {"workerId": "w"}),
        ("/api/result/t1", {"workerId": "w", "success": True, "output": "y"}),
    ]
    for path, body in requests:
        refused = 0
        while True:
            await place.settle()
            kept = rows(place)
            refusing = refuse(place, refused + 1)
            status, said = await place.ask("POST", path, body)
            was_refused, refusing.left = refusing.left <= 0, -1
            if not was_refused:
                break
            assert status == 503, (path, refused)
            assert rows(place) == kept, (path, refused)
            refused += 1
        assert status in (200, 201), (path, said)
        assert refused > 2
    _, shown = await place.ask("GET", "/api/result/t1")
    assert shown.get("output") == "y", shown


def rows(place: Place) -> list[Any]:
    """Everything that is stored."""
    connection = place.storage.connection
    tables = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table' AND name <> 'hearing'").fetchall()
    return [connection.execute(f"SELECT * FROM {name}").fetchall() for (name,) in tables]


@on_a_loop
async def test_a_deadline_whose_batch_is_refused_is_said_once_when_the_storage_works_again(place: Place) -> None:
    await place.beat(1)
    await place.pass_until(place.clock.now_ms() + LATE_AFTER_MS - 1)
    for nth in range(1, 12):
        refusing = refuse(place, nth)
        await place.pass_until(place.clock.now_ms() + 1)
        await place.pass_until(max(place.bell_at, place.clock.now_ms()) if refusing.left > 0 else place.clock.now_ms())
        refusing.left = -1
        assert place.bell_at - place.clock.now_ms() <= LATE_AFTER_MS
    await place.pass_until(place.clock.now_ms() + 3 * LATE_AFTER_MS)
    assert (await told(place)).count("daemon.late") == 1


@on_a_loop
async def test_a_hub_that_cannot_start_sets_its_bell_and_leaves_no_second_one_behind(place: Place) -> None:
    await place.beat(1)
    await place.sleep_through(1_000)
    for nth in range(1, 100):
        stages = Stages(place, nth)
        if await stages.starts():
            break
        with pytest.raises(UnderstudyError):
            await stages.ring_in_vain()
        assert place.bells[-1] == START_AGAIN_MS
        await place.settle()
        assert [hub.turns.is_over for hub in stages.made] == [True] * len(stages.made)
    assert nth > 3
    assert await told(place) == []


class Stages:
    """An object whose start is refused its nth statement."""

    def __init__(self, place: Place, nth: int) -> None:
        place.evict()
        self._refusing = Refusing(place.storage.sql)
        self._refusing.left = nth
        self._place = place
        self.made: list[OneLoopHub] = []
        self._hub = place.hub = HubObject(ENVIRONMENT, self._store, place, place.lines, place.clock)
        self._make = self._hub._make_hub
        self._hub._make_hub = self._made  # type: ignore[method-assign]

    def _store(self) -> DurableStore:
        store = DurableStore(self._place.storage, Buffer)
        store._transaction._sql = self._refusing  # type: ignore[assignment]
        return store

    def _made(self, given: HubInputs, log: Log) -> OneLoopHub:
        self.made.append(self._make(given, log))
        return self.made[-1]

    async def starts(self) -> bool:
        try:
            await self._hub.app()
        except StoreError:
            return False
        return True

    async def ring_in_vain(self) -> None:
        self._refusing.left = 1
        await self._hub.ring()
