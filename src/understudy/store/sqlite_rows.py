"""Rows in and out of one SQLite connection, and the named queries."""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
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
from understudy.coordinator.nouns import Daemon, Directive, Task, Usage
from understudy.store.base import Deadlines, Due, EventFilter, Room, StoredEvent, TaskFilter, Unreadable
from understudy.store.queries import Query, Series
from understudy.store.reading import NUMBER_MAX, event_of, is_sound, lenient, number_of, row_of, shown
from understudy.store.sqlite_needs import NeedsQueries
from understudy.store.sqlite_outbox import OutboxQueries
from understudy.store.sqlite_pauses import PAUSES, RECENT_MS
from understudy.store.sqlite_purge import PURGES
from understudy.store.sqlite_search import event_condition, task_condition
from understudy.store.sqlite_takeover import TakeoverQueries
from understudy.store.tables import TABLES, Table

N = TypeVar("N", bound=Struct)
ROWS_A_STEP_MAX = 64
_encode = msgspec.json.encode


def _columns(noun: type[Struct]) -> str:
    return ", ".join(TABLES[noun].columns)


@cache
def _select(noun: type[Struct]) -> str:
    return f"SELECT {_columns(noun)} FROM {TABLES[noun].name}"  # noqa: S608 - names of our own tables


@cache
def _upsert(noun: type[Struct], rows: int) -> str:
    """Many rows in one step: each step gives up the interpreter, and getting it back costs while others want it."""
    table = TABLES[noun]
    places = "), (".join([", ".join("?" * len(table.columns))] * rows)
    updates = ", ".join(f"{name} = {_merged(table, name)}" for name in table.changing)
    return (
        f"INSERT INTO {table.name} ({_columns(noun)}) VALUES ({places}) "  # noqa: S608
        f"ON CONFLICT ({', '.join(table.keys)}) DO UPDATE SET {updates}"
    )


def _merged(table: Table, name: str) -> str:
    """The value of a column when a row is saved that is there already."""
    if name in table.added:
        return f"{table.name}.{name} + excluded.{name}"
    return f"max({table.name}.{name}, excluded.{name})" if name in table.greatest else f"excluded.{name}"


def _condition(query: Query[Any]) -> str:
    return query.where.replace(" IN ?", " IN (SELECT value FROM json_each(?))")


@cache
def _where(query: Query[Any]) -> str:
    order = f"ORDER BY {query.order} " if query.order else ""
    return f"WHERE {_condition(query)} {order}LIMIT ?"


@cache
def _counted(query: Query[Any]) -> str:
    table = TABLES[query.noun].name
    return f"SELECT count(*) FROM (SELECT 1 FROM {table} WHERE {_condition(query)} LIMIT ?)"  # noqa: S608 - our own


@cache
def _gathered(series: Series[Any]) -> str:
    at, table = series.at, TABLES[series.noun].name
    return (
        f"SELECT ({at} - ?) / ?, {', '.join(series.values)} FROM {table} "  # noqa: S608 - our own
        f"WHERE {at} >= ? AND {at} < ? AND {series.where} GROUP BY 1"
    )


@cache
def _counted_by(query: Query[Any], column: str) -> str:
    table = TABLES[query.noun]
    assert column in table.columns
    return f"SELECT {column}, count(*) FROM {table.name} WHERE {_condition(query)} GROUP BY {column}"  # noqa: S608


def _value(value: Any) -> Any:
    return value if isinstance(value, (str, int)) else _json(value)


def _json(values: Iterable[Any]) -> str:
    return _encode(list(values)).decode()


class SqliteTransaction(NeedsQueries, OutboxQueries, TakeoverQueries):
    """The seam's Transaction on an open SQLite transaction."""

    def __init__(self, connection: sqlite3.Connection, unreadable: Unreadable) -> None:
        self._db = connection
        self.unreadable = unreadable

    def now_ms(self, clock: Clock) -> int:
        """The wall clock of this process: a file has none of its own."""
        return clock.now_ms()

    def lock(self, names: Collection[str]) -> None:
        """Nothing to do: no other transaction is open."""

    # ---- generic

    def _rows(self, noun: type[N], where: str, *values: Any) -> list[N]:
        found = self._fetch(f"{_select(noun)} {where}", values)
        if not found:
            return []
        if all(map(is_sound(noun), found)):
            return [noun(*row) for row in found]
        return [read for row in found if (read := row_of(noun, row, self.unreadable)) is not None]

    def _fetch(self, query: str, values: Any = ()) -> list[Any]:
        """The rows of a query, also when a text of them is not UTF-8."""
        try:
            found: list[Any] = self._db.execute(query, values).fetchall()
        except sqlite3.OperationalError as error:
            if "UTF-8" not in str(error):
                raise
        else:
            return found
        self._db.text_factory = lenient
        try:
            found = self._db.execute(query, values).fetchall()
        finally:
            self._db.text_factory = str
        return found

    def load_many(self, noun: type[N], keys: Collection[Any]) -> list[N]:
        """The rows of these keys that exist."""
        if not keys:
            return []
        table = TABLES[noun]
        if len(table.keys) > 1:
            found: list[N] = []
            where = "WHERE " + " AND ".join(f"{name} = ?" for name in table.keys)
            for key in keys:
                found += self._rows(noun, where, *key)
            return found
        if len(keys) == 1:
            return self._rows(noun, f"WHERE {table.keys[0]} = ?", *keys)
        among = f"WHERE {table.keys[0]} IN (SELECT value FROM json_each(?))"  # noqa: S608 - a name of our own
        return self._rows(noun, among, _json(keys))

    def find(self, query: Query[N], *values: Any, limit: int = 0) -> list[N]:
        """The rows of a query, in its order."""
        return self._rows(query.noun, _where(query), *map(_value, values), limit or -1)

    def load_all(self, noun: type[N], limit: int, after: Any = None) -> list[N]:
        """Up to `limit` rows, in key order, from the beginning or after a key."""
        keys = TABLES[noun].keys
        names = ", ".join(keys)
        if after is None:
            return self._rows(noun, f"ORDER BY {names} LIMIT ?", limit)
        values = after if len(keys) > 1 else (after,)
        where = f"WHERE ({names}) > ({', '.join('?' * len(keys))})"
        return self._rows(noun, f"{where} ORDER BY {names} LIMIT ?", *values, limit)

    def save_many(self, rows: Sequence[Struct]) -> None:
        """Insert or replace rows, many in a statement."""
        by_noun: dict[type[Struct], list[tuple[Any, ...]]] = defaultdict(list)
        for row in rows:
            by_noun[type(row)].append(astuple(row))
        for noun, values in by_noun.items():
            self._upsert(noun, values)

    def _upsert(self, noun: type[Struct], values: list[tuple[Any, ...]]) -> None:
        start = 0
        while start < len(values):
            count = min(ROWS_A_STEP_MAX, 1 << (len(values) - start).bit_length() - 1)  # few different statements
            self._db.execute(_upsert(noun, count), [*chain.from_iterable(values[start : start + count])])
            start += count

    def add_usage(self, more: Sequence[Usage]) -> None:
        """Add to what keys have used."""
        added = (
            "INSERT INTO usage VALUES (?, ?, ?) ON CONFLICT (submitter) DO UPDATE SET"
            " open_tasks = open_tasks + excluded.open_tasks, size_bytes = size_bytes + excluded.size_bytes"
        )
        self._db.executemany(added, [astuple(row) for row in more])

    def delete_many(self, noun: type[Struct], keys: Collection[Any]) -> None:
        """Remove rows by key."""
        table = TABLES[noun]
        where = " AND ".join(f"{name} = ?" for name in table.keys)
        rows = [key if isinstance(key, tuple) else (key,) for key in keys]
        self._db.executemany(f"DELETE FROM {table.name} WHERE {where}", rows)  # noqa: S608

    def append_events(self, events: Sequence[Event]) -> list[StoredEvent]:
        """Append events; this transaction is the only writer, so their places are contiguous."""
        if not events:
            return []
        self._insert_events((None, event) for event in events)
        last = self._db.execute("SELECT last_insert_rowid()").fetchone()[0]
        first = last - len(events) + 1
        return [StoredEvent(first + n, event) for n, event in enumerate(events)]

    def _insert_events(self, placed: Iterable[tuple[int | None, Event]]) -> None:
        """Insert events at their places; None: at the next one."""
        self._db.executemany(
            "INSERT INTO event (id, at, level, name, component, message, fields, task_id, daemon_id) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [
                (n, e.at, e.level, e.name, e.component, e.message, _encode(e.fields).decode(), e.task_id, e.daemon_id)
                for n, e in placed
            ],
        )

    def place_events(self, stored: Sequence[StoredEvent], last_id: int) -> None:
        """Insert events at their own places, and let the next one come after `last_id`."""
        self._insert_events((one.id, one.event) for one in stored)
        if last_id > self.last_event_id():
            self._db.execute("DELETE FROM sqlite_sequence WHERE name = 'event'")
            self._db.execute("INSERT INTO sqlite_sequence (name, seq) VALUES ('event', ?)", (last_id,))

    # ---- the queue

    def ready_ids(self, limit: int) -> list[str]:
        """The ids of claimable tasks in the order of the queue."""
        rows = self._fetch("SELECT id FROM task WHERE ready = 1 ORDER BY order_key, id LIMIT ?", (limit,))
        return [shown(task_id) for (task_id,) in rows]

    # ---- room

    def room(self) -> Room:
        """The bytes in use and free."""
        page, pages, free = (
            self._db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_size", "page_count", "freelist_count")
        )
        path = self._db.execute("PRAGMA database_list").fetchone()[2]
        return Room(page * (pages - free), disk_usage(Path(path).parent).free if path else 1 << 62)

    def count(self, query: Query[Any], *values: Any, limit: int) -> int:
        """The number of rows, counted up to `limit`."""
        return int(self._db.execute(_counted(query), (*map(_value, values), limit)).fetchone()[0])

    def gathered(self, series: Series[Any], from_at: int, to_at: int, bucket_ms: int) -> dict[int, tuple[int, ...]]:
        """The values of each bucket that has rows."""
        rows = self._fetch(_gathered(series), (from_at, bucket_ms, from_at, to_at))
        return {number_of(bucket): tuple(map(number_of, values)) for bucket, *values in rows}

    def counted_by(self, query: Query[Any], column: str, *values: Any) -> dict[str, int]:
        """The number of rows by the words of one column."""
        rows = self._fetch(_counted_by(query, column), [*map(_value, values)])
        return {shown(word): count for word, count in rows}

    # ---- time

    def due(self, h: int, wall: int, limit: int) -> Due:
        """The rows whose deadline has come."""
        return Due(
            self._due(Task, "status = 'leased'", "expires_h", h, limit),
            self._due(Task, "status = 'queued' AND ready = 0 AND waiting_for = ''", "available_at", wall, limit),
            self._due(Daemon, "deadline_h > 0", "deadline_h", h, limit),
            self._due(Directive, "expires_h > 0", "expires_h", h, limit),
        )

    def _due(self, noun: type[N], condition: str, column: str, until: int, limit: int) -> list[N]:
        """Rows whose deadline has come, and those whose deadline is no number that one can wait for."""
        where = f"WHERE {condition} AND {column} {{}} ? ORDER BY {column} LIMIT ?"
        found = self._rows(noun, where.format("<="), until, limit)
        return found + self._rows(noun, where.format(">"), NUMBER_MAX, limit - len(found))

    def next_deadlines(self) -> Deadlines:
        """The nearest deadlines of each kind."""
        row = self._db.execute(
            "SELECT (SELECT min(expires_h) FROM task WHERE status = 'leased'),"
            " (SELECT min(deadline_h) FROM daemon WHERE deadline_h > 0),"
            " (SELECT min(available_at) FROM task WHERE status = 'queued' AND ready = 0 AND waiting_for = ''),"
            " (SELECT min(expires_h) FROM directive WHERE expires_h > 0)"
        ).fetchone()
        return Deadlines(*(number_of(value) for value in row))

    # ---- lists

    def list_tasks(self, wanted: TaskFilter) -> list[Task]:
        """Tasks, newest first."""
        where: list[str] = ["1"]
        values: list[Any] = []
        for column in ("status", "source", "submitter", "daemon_id"):
            value = getattr(wanted, column)
            if value:
                where.append(f"{column} = ?")
                values.append(value)
        if wanted.text:
            condition, needles = task_condition(wanted.text)
            where.append(condition)
            values += needles
        if wanted.before_id:
            where.append("(queued_at, id) < (?, ?)")
            values += [wanted.before_key, wanted.before_id]
        text = f"WHERE {' AND '.join(where)} ORDER BY queued_at DESC, id DESC LIMIT ?"
        return self._rows(Task, text, *values, wanted.limit)

    def list_events(self, wanted: EventFilter) -> list[StoredEvent]:
        """Events in their order: the last `limit` of those wanted, or the first after `after_id`."""
        where: list[str] = ["1"]
        values: list[Any] = []
        for column, value in (("at >= ?", wanted.since_at), ("id > ?", wanted.after_id), ("id < ?", wanted.before_id)):
            if value:
                where.append(column)
                values.append(value)
        if wanted.task_id:
            where.append("task_id <> '' AND task_id = ?")
            values.append(wanted.task_id)
        if wanted.levels:
            where.append("level IN (SELECT value FROM json_each(?))")
            values.append(_json(wanted.levels))
        if wanted.text:
            condition, needles = event_condition(wanted.text)
            where.append(condition)
            values += needles
        order = "ASC" if wanted.after_id else "DESC"
        rows = self._fetch(
            "SELECT id, at, level, name, component, message, fields, task_id, daemon_id FROM event "  # noqa: S608
            f"WHERE {' AND '.join(where)} ORDER BY id {order} LIMIT ?",
            (*values, wanted.limit),
        )
        if not wanted.after_id:
            rows.reverse()
        return [event_of(row, self.unreadable) for row in rows]

    def last_event_id(self) -> int:
        """The last place that was given in the event log; 0: none was."""
        row = self._db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'event'").fetchone()
        return number_of(row[0]) if row else 0

    def message_ids(self, user_id: str) -> list[str]:
        """The ids of all messages of a user, of any owner."""
        return [key for (key,) in self._fetch("SELECT id FROM memory WHERE user_id = ?", (user_id,))]

    def move_pauses(self, by_ms: int, before: int) -> None:
        """Move whatever waits for a while with the wall clock."""
        for statement in PAUSES:
            self._db.execute(statement, {"by": by_ms, "before": before, "recent": RECENT_MS})

    # ---- removal

    def purge(self, what: str, before: int, limit: int) -> int:
        """Remove up to `limit` rows of one kind older than `before`; how many were removed."""
        removed = 0
        for statement in PURGES[what]:
            removed = self._db.execute(statement, {"before": before, "limit": limit}).rowcount
        return removed
