"""Rows in and out of an open transaction, and the named queries: what every backend does in the same way."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from itertools import chain
from typing import Any

from msgspec import Struct
from msgspec.structs import astuple

from understudy.coordinator.nouns import Daemon, Directive, Task, Usage
from understudy.store.base import Claimant, Deadlines, Due
from understudy.store.dialect import positional
from understudy.store.lists import ListQueries
from understudy.store.needs import CANDIDATES_MAX, RESERVED_SETS, NeedsQueries, Waits, candidates_of_each, covered_by
from understudy.store.outbox import OutboxQueries
from understudy.store.parts import PartQueries
from understudy.store.pauses import PAUSES, RECENT_MS, Pause
from understudy.store.purges import PURGES
from understudy.store.queries import WAITING_WITH, Query, Series, in_queue_order
from understudy.store.reading import NUMBER_MAX, number_of, shown
from understudy.store.session import N
from understudy.store.statements import counted, gathered, in_steps, upsert, where, where_key, where_keys
from understudy.store.tables import TABLES
from understudy.store.takeover import TakeoverQueries

NO_LIMIT = 1 << 62
CHOICES_MAX = 8  # of sets of needs that the claims of one name cover: each is a search of its own
_ADD_USAGE = (
    "INSERT INTO usage (submitter, open_tasks, size_bytes) VALUES (?, ?, ?) ON CONFLICT (submitter) DO UPDATE SET"
    " open_tasks = usage.open_tasks + excluded.open_tasks, size_bytes = usage.size_bytes + excluded.size_bytes"
)
_RESERVED_SETS_OF_ONE = RESERVED_SETS.replace(" IN ?", " = ?")
_NEXT_DEADLINES = (
    "SELECT (SELECT min(expires_h) FROM task WHERE status = 'leased'),"
    " (SELECT min(deadline_h) FROM daemon WHERE deadline_h > 0),"
    " (SELECT min(available_at) FROM task WHERE status = 'queued' AND ready = 0 AND waiting_for = ''),"
    " (SELECT min(expires_h) FROM directive WHERE expires_h > 0)"
)


_DAEMON_STATES = "SELECT state, sum(daemons) FROM daemon_count GROUP BY state HAVING sum(daemons) > 0"


class RowQueries(ListQueries, NeedsQueries, OutboxQueries, PartQueries, TakeoverQueries):
    """All of the seam's Transaction but what is the backend's own: clock, locks, events in, room."""

    # ---- generic

    def load_many(self, noun: type[N], keys: Collection[Any]) -> list[N]:
        """The rows of these keys that exist."""
        if not keys:
            return []
        if len(TABLES[noun].keys) > 1:
            return [row for key in keys for row in self._rows(noun, where_key(noun), *key)]
        if len(keys) == 1:
            return self._rows(noun, where_key(noun), *keys)
        return self._rows(noun, where_keys(self.dialect, noun), self.dialect.collection(keys))

    def load_each(self, wanted: Mapping[type[Struct], Collection[Any]]) -> dict[type[Struct], list[Any]]:
        """The rows of these keys, of several nouns in their order."""
        return {noun: self.load_many(noun, keys) for noun, keys in wanted.items()}

    def find(self, query: Query[N], *values: Any, limit: int = 0) -> list[N]:
        """The rows of a query, in its order."""
        given, of_one = [], False
        for value in values:
            if self.dialect.names_one and not isinstance(value, (str, int)) and len(value) == 1:
                of_one = True
                given += value
            else:
                given.append(self.dialect.value(value))
        return self._rows(query.noun, where(self.dialect, query, of_one=of_one), *given, limit or NO_LIMIT)

    def _values(self, values: tuple[Any, ...]) -> list[Any]:
        return [*map(self.dialect.value, values)]

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
        by_noun: dict[type[Struct], list[Struct]] = defaultdict(list)
        for row in rows:
            by_noun[type(row)].append(row)
        for noun, same in by_noun.items():
            self._save(noun, same)

    def _save(self, noun: type[Struct], rows: Sequence[Struct]) -> None:
        most = min(self.dialect.rows_max, self.dialect.values_max // len(TABLES[noun].columns))
        for part in in_steps(rows, most):
            self._change(upsert(self.dialect, noun, len(part)), [*chain.from_iterable(map(astuple, part))])

    def add_usage(self, more: Sequence[Usage]) -> None:
        """Add to what keys have used."""
        self._change_many(_ADD_USAGE, [astuple(row) for row in more])

    def delete_many(self, noun: type[Struct], keys: Collection[Any]) -> None:
        """Remove rows by key."""
        rows = [key if isinstance(key, tuple) else (key,) for key in keys]
        self._change_many(f"DELETE FROM {TABLES[noun].name} {where_key(noun)}", rows)  # noqa: S608

    # ---- the queue

    def offered(self, claims: Mapping[Claimant, int]) -> tuple[dict[frozenset[str], list[Task]], list[Task]]:
        """The claimable tasks for each set of tags, and the reserved ones, for claims of so many tasks."""
        sets = {provides for provides, _ in claims}
        each = candidates_of_each(sum(claims.values()), len(sets))
        return self.claimable_of_each(sets, each), self.reserved(claims)

    def reserved(self, claims: Mapping[Claimant, int]) -> list[Task]:
        """The tasks that wait for one of these claimants and whose needs it covers, in the order of the queue.

        First their sets of needs: what the claimant does not cover, however much it is, must not fill the limit.
        """
        return self._reserved(claims, self._fetch(*self._reserved_sets(claims)))

    def _reserved_sets(self, claims: Mapping[Claimant, int]) -> tuple[str, Sequence[Any]]:
        names = frozenset[str]().union(*(names for _, names in claims))
        if self.dialect.names_one and len(names) == 1:
            return _RESERVED_SETS_OF_ONE, (*names,)
        return self.dialect.sql(RESERVED_SETS), (self.dialect.collection(names),)

    def _reserved(self, claims: Mapping[Claimant, int], waiting: Sequence[Waits]) -> list[Task]:
        """Those of these sets of needs; several claims of one name each have enough for all of them.

        If these cover many different choices of them, one search has to do for all.
        """
        sets_of: dict[str, list[tuple[str]]] = {}
        for name, needs in waiting:
            sets_of.setdefault(name, []).append((needs,))
        found: dict[str, Task] = {}
        for name, sets in sets_of.items():
            its = [(provides, count) for (provides, names), count in claims.items() if name in names]
            limit = sum(count for _, count in its)
            choices = {tuple(covered_by(provides, sets)): None for provides, _ in its}
            if len(choices) > CHOICES_MAX:
                choices, limit = {tuple({needs for covered in choices for needs in covered}): None}, CANDIDATES_MAX
            for covered in filter(None, choices):
                found |= {task.id: task for task in self.find(WAITING_WITH, name, covered, limit=limit)}
        return in_queue_order(list(found.values()))

    def ready_ids(self, limit: int) -> list[str]:
        """The ids of claimable tasks in the order of the queue."""
        rows = self._fetch("SELECT id FROM task WHERE ready = 1 ORDER BY order_key, id LIMIT ?", (limit,))
        return [shown(task_id) for (task_id,) in rows]

    # ---- numbers

    def count(self, query: Query[Any], *values: Any, limit: int) -> int:
        """The number of rows, counted up to `limit`."""
        return int(self._fetch(counted(self.dialect, query), (*self._values(values), limit))[0][0])

    def gathered(self, series: Series[Any], from_at: int, to_at: int, bucket_ms: int) -> dict[int, tuple[int, ...]]:
        """The values of each bucket that has rows."""
        rows = self._fetch(gathered(series), (from_at, bucket_ms, from_at, to_at))
        return {number_of(bucket): tuple(map(number_of, values)) for bucket, *values in rows}

    def daemon_states(self) -> dict[str, int]:
        """The number of daemons in each state that any is in."""
        return {shown(state): int(daemons) for state, daemons in self._fetch(_DAEMON_STATES)}

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
        where = f"WHERE {column} {{}} ? AND {condition} ORDER BY {column} LIMIT ?"  # SQLite begins at the first bound
        found = self._rows(noun, where.format("<="), until, limit)
        return found + self._rows(noun, where.format(">"), NUMBER_MAX, limit - len(found))

    def next_deadlines(self) -> Deadlines:
        """The nearest deadlines of each kind."""
        return Deadlines(*map(number_of, self._fetch(_NEXT_DEADLINES)[0]))

    def move_pauses(self, by_ms: int, before: int) -> None:
        """Move whatever waits for a while with the wall clock."""
        for pause in PAUSES:
            self._move(pause, {"by": by_ms, "before": before, "recent": RECENT_MS})

    def _move(self, pause: Pause, values: dict[str, int]) -> None:
        self._change_by_name(pause.statement, values)

    # ---- removal

    def purge(self, what: str, before: int, limit: int) -> int:
        """Remove up to `limit` rows of one kind older than `before`; how many were removed."""
        removed = 0
        for statement in PURGES[what]:
            removed = self._change_by_name(statement, {"before": before, "limit": limit})
        return removed

    def _change_by_name(self, statement: str, values: dict[str, int]) -> int:
        return self._change(*self._by_name(statement, values))

    def _by_name(self, statement: str, values: dict[str, int]) -> tuple[str, list[int]]:
        """A statement in the words of the backend, and its values in the order of their places."""
        text, names = positional(statement)
        return self.dialect.sql(text), [values[name] for name in names]
