"""Statements on the storage of a Durable Object, and what only that does in its way (docs of `ctx.storage.sql`).

It is SQLite behind JavaScript: at most 100 values a statement and no names, no PRAGMA, no BEGIN. Every number is a
double there: stored in a column of integers it becomes an integer again, but the result of a calculation in a query
stays a double. NULL arrives as an object of its own, a BLOB as a buffer.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from functools import lru_cache
from itertools import chain
from typing import Any, Protocol

import msgspec

from understudy.clock import Clock
from understudy.coordinator.changes import Event
from understudy.errors import StoreError, TooLargeError
from understudy.store.base import Room, StoredEvent, Unreadable
from understudy.store.dialect import Dialect, json_text
from understudy.store.reading import NUMBER_MAX, number_of
from understudy.store.rows import RowQueries

VALUES_MAX = 100  # of one statement, Cloudflare's limit
ROW_BYTES_MAX = 2_000_000  # Cloudflare's limit; numbers may be longer in a row than in the body that brought them
TOO_BIG = "SQLITE_TOOBIG"
OBJECT_BYTES_MAX = 10 << 30  # of one object, Cloudflare's limit
EVENTS_A_STEP = 8  # of nine values each
STATEMENTS_MAX = 1024
_INSTANT = "CASE WHEN json_valid(b.spec) THEN json_extract(b.spec, '$.availableAt') END"
DURABLE = Dialect(
    {
        " IN ?": " IN (SELECT value FROM json_each(?))",
        "each(?) s": "json_each(?) s",
        "least(": "min(",
        "greatest(": "max(",
        "named_instant(b.spec)": _INSTANT,
    },
    json_text,
    octets="length(CAST({} AS BLOB))",
    values_max=VALUES_MAX,
)
_DIVISION, _WHOLE_DIVISION = "- ?) / ?", "- CAST(? AS INTEGER)) / CAST(? AS INTEGER)"
_EVENT = "INSERT INTO event (id, at, level, name, component, message, fields, task_id, daemon_id) VALUES "
_encode = msgspec.json.encode


class Sql(Protocol):
    """`ctx.storage.sql`, as Python sees it."""

    @property
    def databaseSize(self) -> int:  # noqa: N802 - JavaScript's name
        """Bytes in use."""

    def exec(self, query: str, *values: Any) -> Any:
        """Run it → a cursor; an exception for whatever SQLite or the place refuses."""


class Storage(Protocol):
    """`ctx.storage`, as Python sees it."""

    sql: Sql

    def transactionSync(self, fn: Callable[[], None]) -> None:  # noqa: N802 - JavaScript's name
        """Run `fn` in a transaction; an exception rolls it back."""


class DurableTransaction(RowQueries):
    """The seam's Transaction in a Durable Object; `buffer` makes bytes what JavaScript takes for a BLOB."""

    dialect = DURABLE

    def __init__(self, sql: Sql, buffer: Callable[[bytes], Any], unreadable: Unreadable) -> None:
        self._sql = sql
        self._buffer = buffer
        self.unreadable = unreadable

    def now_ms(self, clock: Clock) -> int:
        """The wall clock of this object: its storage has none."""
        return clock.now_ms()

    def lock(self, names: Collection[str]) -> None:
        """Nothing to do: no other transaction is open."""

    # ---- statements

    def _exec(self, query: str, values: Sequence[Any]) -> Any:
        try:
            return self._sql.exec(_whole(query), *map(self._bound, values))
        except Exception as error:
            if TOO_BIG in str(error):  # what was sent is at fault, not the store
                raise TooLargeError(ROW_BYTES_MAX) from error
            raise StoreError(f"Store unavailable: {error}") from error

    def _fetch(self, query: str, values: Sequence[Any] = ()) -> list[Any]:
        found = self._exec(query, values).raw().toArray().to_py()
        return [tuple(map(_python, row)) for row in found]

    def _change(self, statement: str, values: Sequence[Any] = ()) -> int:
        """Nobody asks how many rows an INSERT has changed; a question costs as much as a statement."""
        self._exec(statement, values)
        return 0

    def _change_by_name(self, statement: str, values: dict[str, int]) -> int:
        super()._change_by_name(statement, values)
        return number_of(self._fetch("SELECT changes()")[0][0])

    def _change_many(self, statement: str, rows: Iterable[Sequence[Any]]) -> None:
        for values in rows:
            self._exec(statement, values)

    def _bound(self, value: Any) -> Any:
        """A value as the place takes it: a double, a text or a buffer; larger integers would become BigInt."""
        if isinstance(value, bytes):
            return self._buffer(value)
        return float(value) if type(value) is int and abs(value) >= NUMBER_MAX else value

    # ---- events

    def append_events(self, events: Sequence[Event]) -> list[StoredEvent]:
        """Append events; this transaction is the only writer, so their places are contiguous."""
        if not events:
            return []
        last = self._insert_events([(None, event) for event in events])
        first = last - len(events) + 1
        return [StoredEvent(first + n, event) for n, event in enumerate(events)]

    def _insert_events(self, placed: Sequence[tuple[int | None, Event]]) -> int:
        """Insert events at their places, None: at the next one → the last place."""
        last = 0
        for start in range(0, len(placed), EVENTS_A_STEP):
            rows = [_event_row(n, event) for n, event in placed[start : start + EVENTS_A_STEP]]
            places = ", ".join(["(?, ?, ?, ?, ?, ?, ?, ?, ?)"] * len(rows))
            ids = self._fetch(f"{_EVENT}{places} RETURNING id", [*chain.from_iterable(rows)])
            last = max(number for (number,) in ids)
        return last

    def place_events(self, stored: Sequence[StoredEvent], last_id: int) -> None:
        """Insert events at their own places, and let the next one come after `last_id`."""
        self._insert_events([(one.id, one.event) for one in stored])
        if last_id > self.last_event_id():
            self._change("DELETE FROM sqlite_sequence WHERE name = 'event'")
            self._change("INSERT INTO sqlite_sequence (name, seq) VALUES ('event', ?)", (last_id,))

    def last_event_id(self) -> int:
        """The last place that was given in the event log; 0: none was."""
        rows = self._fetch("SELECT seq FROM sqlite_sequence WHERE name = 'event'")
        return number_of(rows[0][0]) if rows else 0

    def open_batches(self) -> frozenset[str]:
        """None: who reads here sees everything that was ever given a place."""
        return frozenset()

    def room(self) -> Room:
        """The bytes in use, and those that are left of the limit of one object."""
        used = int(self._sql.databaseSize)
        return Room(used, max(OBJECT_BYTES_MAX - used, 0))


def _event_row(place: int | None, e: Event) -> tuple[Any, ...]:
    fields = _encode(e.fields).decode()
    return (place, e.at, e.level, e.name, e.component, e.message, fields, e.task_id, e.daemon_id)


def _python(value: Any) -> Any:
    """A value as the other backends give it."""
    if isinstance(value, int | float | str):
        return value
    return bytes(value) if isinstance(value, bytes | bytearray | memoryview) else None


@lru_cache(STATEMENTS_MAX)
def _whole(query: str) -> str:
    """Buckets of time are whole numbers, though both values are doubles."""
    return query.replace(_DIVISION, _WHOLE_DIVISION)
