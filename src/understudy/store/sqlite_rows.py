"""Statements on one SQLite connection, and what only SQLite does in its way."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from functools import cache
from itertools import chain
from pathlib import Path
from shutil import disk_usage
from typing import Any, TypeVar

import msgspec
from msgspec import Struct
from msgspec.structs import astuple

from understudy.clock import Clock
from understudy.coordinator.changes import Event
from understudy.store.base import Room, StoredEvent, Unreadable
from understudy.store.dialect import Dialect, json_text
from understudy.store.pauses import Pause
from understudy.store.reading import lenient, number_of
from understudy.store.room import LastRoom
from understudy.store.row_cache import RowCache, changed_alike
from understudy.store.rows import RowQueries
from understudy.store.session import N
from understudy.store.sqlite_search import has
from understudy.store.statements import changed_table, in_steps, update_many, update_one
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
HAS_UPDATE_FROM = sqlite3.sqlite_version_info >= (3, 33)
MOVED_MAX = 1_000  # rows that one statement moves with the wall clock: some MiB of pages, kept until its end
READ_MAX = 256  # rows read at once that are kept: nobody saves more of them
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
        self,
        connection: sqlite3.Connection,
        unreadable: Unreadable,
        last_room: LastRoom | None = None,
        known: RowCache | None = None,
    ) -> None:
        """`known`: the rows that the store's only writer knows; a reader has a snapshot of its own, and knows none."""
        self._db = connection
        self.unreadable = unreadable
        self._last_room = last_room or LastRoom()
        self.failure: sqlite3.Error | None = None  # of the last query that failed, also if it was caught
        self._known = known or RowCache(())

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

    # ---- rows that are known

    def load_many(self, noun: type[N], keys: Collection[Any]) -> list[N]:
        """The rows of these keys that exist; those that are known are not read again."""
        known = self._known.of(noun)
        if not known:
            return super().load_many(noun, keys)
        here = [known[key] for key in keys if key in known]
        if len(here) < len(keys):
            here += super().load_many(noun, [key for key in keys if key not in known])
        return here

    def _has_read(self, noun: type[Struct], rows: Sequence[Struct]) -> None:
        if len(rows) <= READ_MAX:
            self._known.keep(noun, rows)

    def _save(self, noun: type[Struct], rows: Sequence[Struct]) -> None:
        """Of rows that are known, only what has changed: SQLite writes each index whose columns a statement names."""
        known = self._known.of(noun)
        if known is None:
            super()._save(noun, rows)
            return
        table = TABLES[noun]
        unique = {table.key_of(row): row for row in rows}
        before = {key: known[key] for key in unique if key in known}  # before any row makes room for another
        strange = [row for key, row in unique.items() if key not in before]
        super()._save(noun, strange)
        for was, now in changed_alike(noun, before, unique):
            self._update(noun, was, now)
        if not table.fixed:  # else an upsert may have left an old value, and the row is known once it is read
            self._known.keep(noun, strange)

    def _update(self, noun: type[Struct], before: list[Struct], after: list[Struct]) -> None:
        """Change the columns in which any of these rows differ from what they were."""
        table = TABLES[noun]
        was, now = zip(*map(astuple, before), strict=True), [*zip(*map(astuple, after), strict=True)]
        changed = [n for n, values in enumerate(was) if values != now[n]]
        names = tuple(table.columns[n] for n in changed)
        if not table.fixed.isdisjoint(names):  # the table keeps its own: what stands there has to be read again
            self._known.drop(noun, now[0])
            super()._save(noun, after)
            return
        rows = [*zip(now[0], *(now[n] for n in changed), strict=True)]
        if names and self._change_columns(noun, names, rows) != len(rows):
            raise sqlite3.DatabaseError(f"a row of {table.name} that was known is not there")
        self._known.keep(noun, after)

    def _change_columns(self, noun: type[Struct], names: tuple[str, ...], rows: list[tuple[Any, ...]]) -> int:
        """The number of rows that were there; each begins with its key."""
        if not HAS_UPDATE_FROM:
            return self._db.executemany(update_one(noun, names, "?"), rows).rowcount
        return sum(
            self._change(update_many(noun, names, len(part)), [*chain.from_iterable(part)])
            for part in in_steps(rows, SQLITE.rows_max)
        )

    def delete_many(self, noun: type[Struct], keys: Collection[Any]) -> None:
        """Remove rows by key."""
        super().delete_many(noun, keys)
        self._known.drop(noun, keys)

    def _change_by_name(self, statement: str, values: dict[str, int]) -> int:
        """Whichever rows of its table that concerns, none of them is known any more."""
        self._known.forget(changed_table(statement))
        return super()._change_by_name(statement, values)

    def _move(self, pause: Pause, values: dict[str, int]) -> None:
        """Many rows in parts: each statement keeps the pages that it changes in memory (TEMPORARY_IN_MEMORY)."""
        concerned = f"SELECT 1 FROM {pause.table} WHERE {pause.where} LIMIT {MOVED_MAX + 1}"  # noqa: S608
        counted = self._by_name(f"SELECT count(*) FROM ({concerned})", values)  # noqa: S608
        if self._fetch(*counted)[0][0] <= MOVED_MAX:
            super()._move(pause, values)
            return
        part = f"rowid > :after AND rowid <= :until AND {pause.where}"
        statement = f"UPDATE {pause.table} NOT INDEXED SET {pause.changes} WHERE {part}"  # noqa: S608
        for after, until in self._ranges(pause.table):
            self._change_by_name(statement, {**values, "after": after, "until": until})

    def _ranges(self, table: str) -> Iterator[tuple[int, int]]:
        """The rowids of a table, `after < rowid <= until`; each range begins with a row that is there."""
        until = -1
        while (first := self._fetch(f"SELECT min(rowid) FROM {table} WHERE rowid > ?", (until,))[0][0]) is not None:  # noqa: S608
            until = first + MOVED_MAX - 1
            yield first - 1, until

    # ---- the event log

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
