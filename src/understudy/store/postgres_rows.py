"""Statements on one PostgreSQL connection, and what only PostgreSQL does in its way.

A transaction that is *alone* locks nothing: no other one that writes is open. One *beside* others locks the rows of
`LOCKED` nouns that it reads, and inserts plainly what it looked for in vain: if another hub has made it meanwhile,
that is a violation of a unique index, and all of it is decided again (postgres.py).
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import astuple

from understudy.clock import Clock
from understudy.coordinator.changes import Event
from understudy.coordinator.nouns import Hearing, Memory, Usage
from understudy.store.base import Room, StoredEvent, Unreadable
from understudy.store.dialect import Dialect
from understudy.store.parts import LAST_MESSAGES, values_of
from understudy.store.postgres_fronts import Fronts
from understudy.store.postgres_pipeline import Statement
from understudy.store.postgres_queue import SKIPPING, QueueQueries
from understudy.store.postgres_statements import insert, insert_one, inserted, of_pairs, same_in_all, update
from understudy.store.postgres_trips import Trips
from understudy.store.postgres_wire import array, numbered
from understudy.store.queries import MESSAGES, Part
from understudy.store.room import LastRoom
from understudy.store.session import N
from understudy.store.statements import columns, merged, select, update_one, where_key
from understudy.store.tables import LOCKED, TABLES

BATCHES = (1970170995, 1)  # of the lock that a batch has, shared or alone
MIGRATION = (1970170995, 2)
VERSIONS = "SELECT version, compatible_from FROM understudy_schema"
FREE_UNKNOWN = 1 << 62
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
_EVENT = {"at": "bigint"} | dict.fromkeys(
    ("level", "name", "component", "message", "fields", "task_id", "daemon_id"), "text"
)
_PLACED = {"id": "bigint", **_EVENT}
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
_LAST_SAID = (
    f"SELECT {columns(Memory)} FROM (SELECT *,"  # noqa: S608 - our own
    " sum(length(content)) OVER (ORDER BY created_at DESC, id DESC) - length(content) AS before"
    f" FROM ({LAST_MESSAGES}) AS newest) AS said WHERE before < ? ORDER BY {MESSAGES.order}"
)
_CLOCK = Statement("SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint")
_encode = msgspec.json.encode


def _of_events(events: Sequence[Event]) -> dict[str, tuple[Any, ...]]:
    rows = [
        (e.at, e.level, e.name, e.component, e.message, _encode(e.fields).decode(), e.task_id, e.daemon_id)
        for e in events
    ]
    return dict(zip(_EVENT, zip(*rows, strict=True), strict=True))


def _sent(columns: Mapping[str, Sequence[Any]], same: Collection[str]) -> list[Any]:
    """The values of these columns, as a statement has them that knows which are the same in all rows."""
    return [column[0] if name in same else array(column) for name, column in columns.items()]


class PostgresTransaction(QueueQueries):
    """The seam's Transaction on an open transaction of PostgreSQL."""

    dialect = POSTGRES

    def __init__(
        self,
        trips: Trips,
        unreadable: Unreadable,
        *,
        is_beside: bool = False,
        own_clock: bool = False,
        last_room: LastRoom | None = None,
        fronts: Fronts | None = None,
    ) -> None:
        self._trips = trips
        self.unreadable = unreadable
        self._is_beside = is_beside
        self._own_clock = own_clock
        self._absent: dict[type[Struct], set[Any]] = {noun: set() for noun in LOCKED}
        # Of rows that were read only what has changed is saved.
        self._rows_read: dict[type[Struct], list[Any]] = {noun: [] for noun in LOCKED}
        self._clock_ms: int | None = None  # the database's, if nothing was read since
        self._last_room = last_room or LastRoom()
        self.fronts = fronts
        self.made = {}

    def now_ms(self, clock: Clock) -> int:
        """The database's clock: that of all hubs."""
        if self._own_clock:
            return clock.now_ms()
        if self._clock_ms is None:
            self._clock_ms = int(self._trips.rows(_CLOCK)[0][0][0])
        return self._clock_ms

    def lock(self, names: Collection[str]) -> None:
        """Wait for these names, in the same order as everybody."""
        if names and self._is_beside:
            numbers = array(sorted(map(_number, names)))
            self._trips.later(Statement("SELECT pg_advisory_xact_lock(unnest($1::bigint[]))", (numbers,)))

    def open_batches(self) -> frozenset[str]:
        """The marks of the transactions that may still write something."""
        return frozenset(mark for (mark,) in self._fetch(_OPEN_BATCHES, BATCHES))

    def versions(self) -> tuple[int, int]:
        """The schema, and the oldest that goes together with it."""
        version, compatible_from = self._fetch(VERSIONS)[0]
        return version, compatible_from

    # ---- statements

    def _fetch(self, query: str, values: Sequence[Any] = ()) -> list[Any]:
        self._clock_ms = None
        return self._trips.rows(Statement(numbered(query), values))[0]

    def _change(self, statement: str, values: Sequence[Any] = ()) -> int:
        for rows in self._rows_read.values():
            rows.clear()
        return self._trips.changed(Statement(numbered(statement), values))

    def _change_many(self, statement: str, rows: Iterable[Sequence[Any]]) -> None:
        for row in rows:
            self._later(statement, row)

    def _later(self, statement: str, values: Sequence[Any]) -> None:
        """Send it with the next statement whose answer is waited for; at the latest with the COMMIT."""
        self._trips.later(Statement(numbered(statement), values))

    def send(self) -> None:
        """Send what waits."""
        self._trips.send()

    # ---- rows

    def _rows(self, noun: type[N], where: str, *values: Any) -> list[N]:
        self._clock_ms = None
        return self._nouns(noun, self._trips.rows(self._select(noun, where, values))[0])

    def _select(self, noun: type[Struct], where: str, values: Sequence[Any]) -> Statement:
        if self._is_beside and noun in LOCKED and not where.endswith(SKIPPING):
            where += " FOR UPDATE"
        return Statement(numbered(f"{select(noun)} {where}"), values, is_binary=True)

    def _nouns(self, noun: type[N], found: list[Any]) -> list[N]:
        rows = super()._nouns(noun, found)
        if noun in self._rows_read:
            self._rows_read[noun] += rows
        return rows

    def load_many(self, noun: type[N], keys: Collection[Any]) -> list[N]:
        """The rows of these keys that exist; beside others they are locked in the order of their keys."""
        return self.load_each({noun: keys}).get(noun, [])

    def load_each(self, wanted: Mapping[type[Struct], Collection[Any]]) -> dict[type[Struct], list[Any]]:
        """The rows of these keys, in one trip that brings the time as well."""
        asked = {noun: self._by_keys(noun, keys) for noun, keys in wanted.items() if keys}
        if not asked:
            return {}
        *found, ((self._clock_ms,),) = self._trips.rows(*asked.values(), _CLOCK)
        answer = {noun: self._nouns(noun, rows) for noun, rows in zip(asked, found, strict=True)}
        if self._is_beside:
            for noun in answer.keys() & self._absent.keys():
                self._absent[noun] |= set(wanted[noun]) - set(map(TABLES[noun].key_of, answer[noun]))
        return answer

    def _by_keys(self, noun: type[Struct], keys: Collection[Any]) -> Statement:
        """Several in the order of their keys, because that is the order of locks."""
        names = TABLES[noun].keys
        if len(keys) == 1:
            return self._select(noun, where_key(noun), [*keys] if len(names) == 1 else [*next(iter(keys))])
        if len(names) > 1:
            return Statement(of_pairs(noun), [*map(array, zip(*keys, strict=True))], is_binary=True)
        ordered = f" ORDER BY {names[0]}" if noun in LOCKED else ""
        return self._select(noun, f"WHERE {names[0]} = ANY(?){ordered}", (array(keys),))

    def save_many(self, rows: Sequence[Struct]) -> None:
        """Insert or replace rows, all of one noun in one statement."""
        by_noun: dict[type[Struct], list[Struct]] = defaultdict(list)
        for row in rows:
            by_noun[type(row)].append(row)
        for noun, found in by_noun.items():
            if noun in LOCKED:
                self._note_begins(found)
            if self._is_beside and noun is Hearing:
                self._later(_HEARD, (found[-1].heard_at,))  # type: ignore[attr-defined]
            else:
                self._save_rows(noun, found)

    def _save_rows(self, noun: type[Struct], rows: list[Struct]) -> None:
        key_of, absent = TABLES[noun].key_of, self._absent.get(noun, ())
        unique = {key_of(row): row for row in rows} if not TABLES[noun].added else dict(enumerate(rows))
        before = {key_of(row): row for row in self._rows_read.get(noun, ())}
        new = [row for key, row in unique.items() if key in absent]
        known = [row for key, row in unique.items() if key in before]
        others = [row for key, row in unique.items() if key not in absent and key not in before]
        self._insert(noun, new, "")
        self._insert(noun, others, merged(POSTGRES, noun))
        if known:
            self._update(noun, [before[key_of(row)] for row in known], known)
        if noun in self._rows_read:
            self._rows_read[noun] += unique.values()
        self._absent.get(noun, set()).difference_update(map(key_of, new))

    def _insert(self, noun: type[Struct], rows: list[Struct], merge: str) -> None:
        if len(rows) == 1:
            self._later(f"{insert_one(noun)} {merge}", astuple(rows[0]))
        elif rows:
            columns = _by_column(noun, rows)
            same = same_in_all(TABLES[noun].name, columns, TABLES[noun].keys)
            self._later(f"{insert(noun, same)} {merge}", _sent(columns, same))

    def _update(self, noun: type[Struct], before: list[Struct], after: list[Struct]) -> None:
        """Save rows that are there, their columns that have changed: each other one would be sent and compared."""
        was, now = _by_column(noun, before), _by_column(noun, after)
        table = TABLES[noun]
        names = tuple(name for name in table.changing if was[name] != now[name])
        if names and len(after) == 1:
            self._later(update_one(noun, names, "$"), [now[name][0] for name in (*table.keys, *names)])
        elif names:
            same = same_in_all(f"{table.name} {names}", {name: now[name] for name in names}, ())
            ordered = (*filter(same.__contains__, names), *table.keys, *(n for n in names if n not in same))
            self._later(update(noun, names, same), _sent({name: now[name] for name in ordered}, same))

    def add_usage(self, more: Sequence[Usage]) -> None:
        """Add to what keys have used, in the same order as everybody."""
        if more:
            self._later(_ADD_USAGE, [*map(array, zip(*map(astuple, more), strict=True))])

    def delete_many(self, noun: type[Struct], keys: Collection[Any]) -> None:
        """Remove rows by key."""
        table = TABLES[noun]
        if noun in self._rows_read:
            self._rows_read[noun].clear()
        if len(table.keys) > 1:
            super().delete_many(noun, keys)
        elif keys:
            self._later(f"DELETE FROM {table.name} WHERE {table.keys[0]} = ANY(?)", (array(keys),))  # noqa: S608

    def last_said(self, conversation: tuple[str, str, str], part: Part, limit: int) -> list[Memory]:
        """The last messages of a conversation, in one trip."""
        return self._nouns(Memory, self._fetch(_LAST_SAID, (*values_of(conversation, part, limit), part.chars)))

    # ---- events

    def append_events(self, events: Sequence[Event]) -> list[StoredEvent]:
        """Append events with the COMMIT; other hubs may do so meanwhile, so their places are not contiguous."""
        if not events:
            return []
        stored = [StoredEvent(0, event) for event in events]

        def place(rows: list[Any]) -> None:
            for one, (number,) in zip(stored, sorted(rows), strict=True):
                one.id = number

        columns = _of_events(events)
        same = same_in_all("event", columns, ("message",))
        appended = f"{inserted('event', _EVENT, same)} RETURNING id"
        self._trips.later(Statement(numbered(appended), _sent(columns, same)), place)
        return [*stored]  # the caller may add to it

    def place_events(self, stored: Sequence[StoredEvent], last_id: int) -> None:
        """Insert events at their own places, and let the next one come after `last_id` and after these."""
        if stored:
            columns = {"id": [one.id for one in stored], **_of_events([one.event for one in stored])}
            self._change(inserted("event", _PLACED, ()), _sent(columns, ()))
        last = max((last_id, *(one.id for one in stored)))
        if last > self.last_event_id():
            self._fetch("SELECT setval('event_id', ?)", (last,))

    def last_event_id(self) -> int:
        """The last place that was given; 0: none was."""
        return int(self._fetch("SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM event_id")[0][0])

    def room(self) -> Room:
        """The bytes in use, as of a moment ago; how much its disk has, a database does not say."""
        return self._last_room.get(self._look_for_room)

    def _look_for_room(self) -> Room:
        """Each look reads the folder of the database."""
        return Room(int(self._fetch("SELECT pg_database_size(current_database())")[0][0]), FREE_UNKNOWN)


def _by_column(noun: type[Struct], rows: list[Struct]) -> dict[str, tuple[Any, ...]]:
    return dict(zip(TABLES[noun].columns, zip(*map(astuple, rows), strict=True), strict=True))


def _number(name: str) -> int:
    """64 bits for a name: two names may share one, and wait for each other."""
    return int.from_bytes(hashlib.blake2b(name.encode("utf-8", "replace"), digest_size=8).digest(), signed=True)
