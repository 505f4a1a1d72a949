"""Statements on one SQLite connection, and what only SQLite does in its way."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import cache
from itertools import chain
from operator import itemgetter
from pathlib import Path
from shutil import disk_usage
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from understudy.clock import Clock
from understudy.coordinator.changes import Event
from understudy.coordinator.nouns import Daemon
from understudy.store.base import Room, StoredEvent, Unreadable
from understudy.store.dialect import Dialect, json_text
from understudy.store.reading import lenient, number_of
from understudy.store.room import LastRoom
from understudy.store.rows import RowQueries
from understudy.store.session import N
from understudy.store.sqlite_search import has
from understudy.store.statements import in_steps
from understudy.store.tables import TABLES

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
    names_one=True,
)
READ_MAX = 256  # rows read at once whose indexed columns are remembered: nobody saves more of them
T = TypeVar("T")
_encode = msgspec.json.encode
indexed_of_daemon = itemgetter(*TABLES[Daemon].indexed)


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
        self._indexed: dict[Any, tuple[Any, ...]] = {}  # of daemons that were read, as they stand now

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
        self._indexed.clear()
        return self._db.execute(statement, values).rowcount

    def _change_many(self, statement: str, rows: Iterable[Sequence[Any]]) -> None:
        self._indexed.clear()
        self._db.executemany(statement, rows)

    def _nouns(self, noun: type[N], found: list[Any]) -> list[N]:
        if noun is Daemon and len(found) <= READ_MAX:
            self._indexed |= {row[0]: indexed_of_daemon(row) for row in found}
        return super()._nouns(noun, found)

    def _save(self, noun: type[Struct], rows: list[tuple[Any, ...]], *, unindexed: bool = False) -> None:
        """A heartbeat changes no indexed column of its daemon: SQLite would write each index for it all the same."""
        if noun is not Daemon:
            super()._save(noun, rows)
            return
        was, now = self._indexed, {row[0]: indexed_of_daemon(row) for row in rows}
        moved: list[tuple[Any, ...]] = []
        still: list[tuple[Any, ...]] = []
        for row in rows:
            (still if was.get(row[0]) == now[row[0]] else moved).append(row)
        self._indexed = {}
        super()._save(noun, moved)
        super()._save(noun, still, unindexed=True)
        self._indexed = was | now

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
