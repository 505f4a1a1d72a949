"""Statements on one PostgreSQL connection, and what only PostgreSQL does in its way.

A transaction that is *alone* locks nothing: no other one that writes is open. One *beside* others locks the rows of
`LOCKED` nouns that it reads, and inserts plainly what it looked for in vain: if another hub has made it meanwhile,
that is a violation of a unique index, and all of it is decided again (postgres.py).
"""

from __future__ import annotations

import hashlib
import time
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from functools import cache
from itertools import starmap
from math import inf
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import astuple, fields

from understudy.clock import Clock
from understudy.coordinator.changes import Event
from understudy.coordinator.nouns import Hearing, Usage
from understudy.errors import SlowReadError
from understudy.store.base import Room, StoredEvent, Unreadable
from understudy.store.dialect import Dialect
from understudy.store.postgres_fronts import Fronts
from understudy.store.postgres_queue import SKIPPING, QueueQueries
from understudy.store.postgres_wire import Connection, array, numbered
from understudy.store.session import N
from understudy.store.statements import columns, merged
from understudy.store.tables import LOCKED, TABLES

BATCHES = (1970170995, 1)  # of the lock that a batch has, shared or alone
MIGRATION = (1970170995, 2)
FREE_UNKNOWN = 1 << 62
SIZE_FOR_S = 0.25
POSTGRES = Dialect(
    {
        " IN ?": " = ANY(?)",
        "each(?) s": "unnest(?::text[]) AS s(value)",
        "instr(": "strpos(",
        "named_instant(b.spec)": "understudy_named_instant(b.spec)",
    },
    array,
    octets="octet_length({})",
)
_TYPES = {str: "text", int: "bigint", bytes: "bytea"}
_EVENT_COLUMNS = "at, level, name, component, message, fields, task_id, daemon_id"
_EVENT_ARRAYS = "?::bigint[], " + ", ".join(["?::text[]"] * 7)
_APPEND = f"INSERT INTO event ({_EVENT_COLUMNS}) SELECT * FROM unnest({_EVENT_ARRAYS}) RETURNING id"  # noqa: S608
_PLACE = f"INSERT INTO event (id, {_EVENT_COLUMNS}) SELECT * FROM unnest(?::bigint[], {_EVENT_ARRAYS})"  # noqa: S608
_ADD_USAGE = (
    "INSERT INTO usage (submitter, open_tasks, size_bytes)"
    " SELECT * FROM unnest(?::text[], ?::bigint[], ?::bigint[]) AS u(s, o, b) ORDER BY s"
    " ON CONFLICT (submitter) DO UPDATE SET"
    " open_tasks = usage.open_tasks + excluded.open_tasks, size_bytes = usage.size_bytes + excluded.size_bytes"
)
_HEARD = (  # another hub that is writing it just now says the same
    "UPDATE hearing SET heard_at = greatest(heard_at, ?)"
    " WHERE id = (SELECT id FROM hearing WHERE id = 1 FOR UPDATE SKIP LOCKED)"
)
_OPEN_BATCHES = (
    "SELECT virtualtransaction FROM pg_locks WHERE locktype = 'advisory' AND granted AND classid = ? AND objid = ?"
    " AND objsubid = 2 AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
)
_encode = msgspec.json.encode


@cache
def _insert(noun: type[Struct]) -> str:
    """Many rows in one statement, whose text does not depend on how many they are."""
    arrays = ", ".join(f"?::{_TYPES[field.type]}[]" for field in fields(noun))
    return f"INSERT INTO {TABLES[noun].name} ({columns(noun)}) SELECT * FROM unnest({arrays})"  # noqa: S608 - ours


@cache
def _insert_one(noun: type[Struct]) -> str:
    places = ", ".join("?" * len(fields(noun)))
    return f"INSERT INTO {TABLES[noun].name} ({columns(noun)}) VALUES ({places})"  # noqa: S608 - ours


def _of_events(events: Sequence[Event]) -> list[str]:
    rows = [
        (e.at, e.level, e.name, e.component, e.message, _encode(e.fields).decode(), e.task_id, e.daemon_id)
        for e in events
    ]
    return [array(column) for column in zip(*rows, strict=True)]


class Size:
    """The size of a database as of the last look, and until when that will do: each look reads its folder."""

    def __init__(self) -> None:
        self.used_bytes = 0
        self.until_s = -inf


class PostgresTransaction(QueueQueries):
    """The seam's Transaction on an open transaction of PostgreSQL."""

    dialect = POSTGRES

    def __init__(
        self,
        connection: Connection,
        unreadable: Unreadable,
        *,
        is_beside: bool = False,
        own_clock: bool = False,
        until_s: float = 0,
        size: Size | None = None,
        fronts: Fronts | None = None,
    ) -> None:
        self._cursor = connection.cursor()
        self.unreadable = unreadable
        self._is_beside = is_beside
        self._own_clock = own_clock
        self._until_s = until_s  # on the clock that never jumps; 0: without end
        self._absent: dict[type[Struct], set[Any]] = {noun: set() for noun in LOCKED}
        self._size = size or Size()
        self.fronts = fronts
        self.made = {}

    def now_ms(self, clock: Clock) -> int:
        """The database's clock: that of all hubs."""
        if self._own_clock:
            return clock.now_ms()
        return int(self._fetch("SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint")[0][0])

    def lock(self, names: Collection[str]) -> None:
        """Wait for these names, in the same order as everybody."""
        if names and self._is_beside:
            self._fetch("SELECT pg_advisory_xact_lock(unnest(?::bigint[]))", (array(sorted(map(_number, names))),))

    def open_batches(self) -> frozenset[str]:
        """The marks of the transactions that may still write something."""
        return frozenset(mark for (mark,) in self._fetch(_OPEN_BATCHES, BATCHES))

    # ---- statements

    def _fetch(self, query: str, values: Sequence[Any] = ()) -> list[Any]:
        self._look()
        return self._cursor.execute(numbered(query), values).fetchall()

    def _look(self) -> None:
        if self._until_s and time.monotonic() > self._until_s:
            raise SlowReadError

    def _change(self, statement: str, values: Sequence[Any] = ()) -> int:
        return self._cursor.execute(numbered(statement), values).rowcount

    def _change_many(self, statement: str, rows: Iterable[Sequence[Any]]) -> None:
        for row in rows:
            self._change(statement, row)

    # ---- rows

    def _rows(self, noun: type[N], where: str, *values: Any) -> list[N]:
        if self._is_beside and noun in LOCKED and not where.endswith(SKIPPING):
            where += " FOR UPDATE"
        return super()._rows(noun, where, *values)

    def load_many(self, noun: type[N], keys: Collection[Any]) -> list[N]:
        """The rows of these keys that exist; beside others they are locked in the order of their keys."""
        if not (self._is_beside and noun in LOCKED and keys):
            return super().load_many(noun, keys)
        table = TABLES[noun]
        key = table.keys[0]
        found = self._rows(noun, f"WHERE {key} = ANY(?) ORDER BY {key}", array(keys))
        self._absent[noun] |= set(keys) - set(map(table.key_of, found))
        return found

    def save_many(self, rows: Sequence[Struct]) -> None:
        """Insert or replace rows, all of one noun in one statement."""
        by_noun: dict[type[Struct], list[Struct]] = defaultdict(list)
        for row in rows:
            by_noun[type(row)].append(row)
            self._note_begin(row)
        for noun, found in by_noun.items():
            if self._is_beside and noun is Hearing:
                self._change(_HEARD, (found[-1].heard_at,))  # type: ignore[attr-defined]
            else:
                self._save_rows(noun, found)

    def _save_rows(self, noun: type[Struct], rows: list[Struct]) -> None:
        absent, key_of = self._absent.get(noun), TABLES[noun].key_of
        new = [row for row in rows if key_of(row) in absent] if absent else []
        known = [row for row in rows if key_of(row) not in absent] if new and absent else rows
        self._insert(noun, new, "")
        self._insert(noun, [] if len(new) == len(rows) else known, merged(POSTGRES, noun))
        if absent:
            absent.difference_update(map(key_of, new))

    def _insert(self, noun: type[Struct], rows: list[Struct], merge: str) -> None:
        if len(rows) == 1:
            self._change(f"{_insert_one(noun)} {merge}", astuple(rows[0]))
        elif rows:
            unique = {TABLES[noun].key_of(row): row for row in rows}.values() if not TABLES[noun].added else rows
            self._change(f"{_insert(noun)} {merge}", [*map(array, zip(*map(astuple, unique), strict=True))])

    def add_usage(self, more: Sequence[Usage]) -> None:
        """Add to what keys have used, in the same order as everybody."""
        if more:
            self._change(_ADD_USAGE, [*map(array, zip(*map(astuple, more), strict=True))])

    def delete_many(self, noun: type[Struct], keys: Collection[Any]) -> None:
        """Remove rows by key."""
        table = TABLES[noun]
        if len(table.keys) > 1:
            super().delete_many(noun, keys)
        elif keys:
            self._change(f"DELETE FROM {table.name} WHERE {table.keys[0]} = ANY(?)", (array(keys),))  # noqa: S608

    # ---- events

    def append_events(self, events: Sequence[Event]) -> list[StoredEvent]:
        """Append events; other hubs may do so meanwhile, so their places are not contiguous."""
        if not events:
            return []
        places = sorted(row[0] for row in self._fetch(_APPEND, _of_events(events)))
        return [*starmap(StoredEvent, zip(places, events, strict=True))]

    def place_events(self, stored: Sequence[StoredEvent], last_id: int) -> None:
        """Insert events at their own places, and let the next one come after `last_id` and after these."""
        if stored:
            self._change(_PLACE, [array([one.id for one in stored]), *_of_events([one.event for one in stored])])
        last = max((last_id, *(one.id for one in stored)))
        if last > self.last_event_id():
            self._fetch("SELECT setval('event_id', ?)", (last,))

    def last_event_id(self) -> int:
        """The last place that was given; 0: none was."""
        return int(self._fetch("SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM event_id")[0][0])

    def room(self) -> Room:
        """The bytes in use, as of some seconds ago; how much its disk has, a database does not say."""
        if time.monotonic() > self._size.until_s:
            self._size.used_bytes = int(self._fetch("SELECT pg_database_size(current_database())")[0][0])
            self._size.until_s = time.monotonic() + SIZE_FOR_S
        return Room(self._size.used_bytes, FREE_UNKNOWN)


def _number(name: str) -> int:
    """64 bits for a name: two names may share one, and wait for each other."""
    return int.from_bytes(hashlib.blake2b(name.encode("utf-8", "replace"), digest_size=8).digest(), signed=True)
