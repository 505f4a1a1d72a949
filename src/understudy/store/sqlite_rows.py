"""Statements on one SQLite connection, and what only SQLite does in its way."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import cache
from itertools import chain
from pathlib import Path
from shutil import disk_usage
from typing import Any, TypeVar

import msgspec

from understudy.clock import Clock
from understudy.coordinator.changes import Event
from understudy.store.base import Room, StoredEvent, Unreadable
from understudy.store.dialect import Dialect, json_text
from understudy.store.reading import lenient, number_of
from understudy.store.room import LastRoom
from understudy.store.rows import RowQueries
from understudy.store.sqlite_search import has
from understudy.store.statements import in_steps

_INSTANT = "CASE WHEN json_valid(b.spec) THEN json_extract(b.spec, '$.availableAt') END"
SQLITE = Dialect(
    {
        " IN ?": " IN (SELECT value FROM json_each(?))",
        "each(?) s": "json_each(?) s",
        "least(": "min(",
        "greatest(": "max(",
        "named_instant(b.spec)": _INSTANT,
    },
    json_text,
    octets="length(CAST({} AS BLOB))",
    has=has,
)
T = TypeVar("T")
_encode = msgspec.json.encode


@cache
def _event_insert(rows: int) -> str:
    places = ", ".join(["(?, ?, ?, ?, ?, ?, ?, ?, ?)"] * rows)
    return f"INSERT INTO event (id, at, level, name, component, message, fields, task_id, daemon_id) VALUES {places}"  # noqa: S608


class SqliteTransaction(RowQueries):
    """The seam's Transaction on an open SQLite transaction."""

    dialect = SQLITE

    def __init__(
        self, connection: sqlite3.Connection, unreadable: Unreadable, last_room: LastRoom | None = None
    ) -> None:
        self._db = connection
        self.unreadable = unreadable
        self._last_room = last_room or LastRoom()
        self.failure: sqlite3.Error | None = None  # of the last query that failed, also if it was caught

    def answer(self, fn: Callable[[SqliteTransaction], T]) -> T:
        """The answer of `fn`. sqlite3.Error of a query that failed, also if `fn` has caught it: its answer is wrong."""
        answer = fn(self)
        if self.failure is not None:
            raise self.failure
        return answer

    def now_ms(self, clock: Clock) -> int:
        """The wall clock of this process: a file has none of its own."""
        return clock.now_ms()

    def lock(self, names: Collection[str]) -> None:
        """Nothing to do: no other transaction is open."""

    def _fetch(self, query: str, values: Sequence[Any] = ()) -> list[Any]:
        """The rows of a query, also when a text of them is not UTF-8."""
        try:
            found: list[Any] = self._db.execute(query, values).fetchall()
        except sqlite3.Error as error:
            if "UTF-8" not in str(error):
                self.failure = error
                raise
        else:
            return found
        self._db.text_factory = lenient
        try:
            found = self._db.execute(query, values).fetchall()
        finally:
            self._db.text_factory = str
        return found

    def _change(self, statement: str, values: Sequence[Any] = ()) -> int:
        return self._db.execute(statement, values).rowcount

    def _change_many(self, statement: str, rows: Iterable[Sequence[Any]]) -> None:
        self._db.executemany(statement, rows)

    def append_events(self, events: Sequence[Event]) -> list[StoredEvent]:
        """Append events; this transaction is the only writer, so their places are contiguous."""
        if not events:
            return []
        first = self._insert_events([(None, event) for event in events]) - len(events) + 1
        return [StoredEvent(first + n, event) for n, event in enumerate(events)]

    def _insert_events(self, placed: Sequence[tuple[int | None, Event]]) -> int:
        """Insert events at their places, None: at the next one → the last place."""
        last = 0
        rows = [
            (n, e.at, e.level, e.name, e.component, e.message, _encode(e.fields).decode(), e.task_id, e.daemon_id)
            for n, e in placed
        ]
        for part in in_steps(rows, SQLITE.rows_max):
            last = self._db.execute(_event_insert(len(part)), [*chain.from_iterable(part)]).lastrowid or 0
        return last

    def place_events(self, stored: Sequence[StoredEvent], last_id: int) -> None:
        """Insert events at their own places, and let the next one come after `last_id`."""
        self._insert_events([(one.id, one.event) for one in stored])
        if last_id > self.last_event_id():
            self._db.execute("DELETE FROM sqlite_sequence WHERE name = 'event'")
            self._db.execute("INSERT INTO sqlite_sequence (name, seq) VALUES ('event', ?)", (last_id,))

    def last_event_id(self) -> int:
        """The last place that was given in the event log; 0: none was."""
        row = self._db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'event'").fetchone()
        return number_of(row[0]) if row else 0

    def open_batches(self) -> frozenset[str]:
        """None: who reads here sees everything that was ever given a place."""
        return frozenset()

    def room(self) -> Room:
        """The bytes in use and free, as of a moment ago."""
        return self._last_room.get(self._look_for_room)

    def _look_for_room(self) -> Room:
        page, pages, free = (
            self._db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_size", "page_count", "freelist_count")
        )
        path = self._db.execute("PRAGMA database_list").fetchone()[2]
        return Room(page * (pages - free), disk_usage(Path(path).parent).free if path else 1 << 62)
