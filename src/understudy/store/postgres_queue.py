"""Claims and deadlines on PostgreSQL: rows that others lock are passed over; reading begins at the first live row.

postgres_fronts.py knows that place, or does not: then each of these reads from the very beginning.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from msgspec import Struct

from understudy.coordinator.nouns import LEASED, QUEUED, Daemon, Task
from understudy.store.base import Claimant, Deadlines
from understudy.store.needs import NEEDS_A_PAGE, READY_SETS, Head, Place, QueueLines, covered_by
from understudy.store.postgres_fronts import Fronts, Heads
from understudy.store.postgres_pipeline import Statement
from understudy.store.postgres_trips import Trips
from understudy.store.postgres_wire import array, numbered
from understudy.store.queries import READY, READY_FROM, Query
from understudy.store.reading import NUMBER_MAX, number_of
from understudy.store.rows import RowQueries
from understudy.store.session import N
from understudy.store.tables import TABLES

SKIPPING = " FOR UPDATE SKIP LOCKED"
FIRST_PLACE: Place = (-(1 << 62), "")
NOWHERE: Place = (1 << 62, "")
LEASES, HEALTH, DELAYS = "task.expires_h", "daemon.deadline_h", "task.available_at"  # sets of needs begin with "["
_HEADS = (
    "SELECT t.order_key, t.id, t.needs FROM unnest(?::text[], ?::bigint[], ?::text[]) AS s(needs, k, i)"
    " JOIN task t ON t.id = (SELECT id FROM task WHERE ready = 1 AND needs = s.needs AND (order_key, id) >= (s.k, s.i)"
    " ORDER BY order_key, id LIMIT 1)"
)
_COUNT_READY = (
    "SELECT count(*) FROM (SELECT 1 FROM unnest(?::text[], ?::bigint[], ?::text[]) AS s(needs, k, i)"
    " CROSS JOIN LATERAL (SELECT 1 FROM task WHERE ready = 1 AND needs = s.needs AND (order_key, id) >= (s.k, s.i)"
    " LIMIT ?) AS one LIMIT ?) AS counted"
)
_NEXT_DEADLINES = (  # ordered, so that each takes its index
    "SELECT (SELECT expires_h FROM task WHERE status = 'leased' AND expires_h > 0 AND expires_h >= ?"
    " ORDER BY expires_h LIMIT 1),"
    " (SELECT deadline_h FROM daemon WHERE deadline_h > 0 AND deadline_h >= ? ORDER BY deadline_h LIMIT 1),"
    " (SELECT available_at FROM task WHERE status = 'queued' AND ready = 0 AND waiting_for = '' AND available_at >= ?"
    " ORDER BY available_at LIMIT 1),"
    " (SELECT expires_h FROM directive WHERE expires_h > 0 ORDER BY expires_h LIMIT 1)"
)


class QueueQueries(RowQueries):
    """A part of the transaction of PostgreSQL."""

    fronts: Fronts | None
    made: Heads  # by this transaction: the first place of each set of needs, and the nearest deadlines
    _is_beside: bool
    _trips: Trips

    # ---- claims

    def offered(self, claims: Mapping[Claimant, int]) -> tuple[dict[frozenset[str], list[Task]], list[Task]]:
        """Both; the sets of needs of what is claimable and of what is reserved come together."""
        sets = {provides for provides, _ in claims}
        if len(sets) != 1 or (self.fronts and self.fronts.heads() is not None):
            return super().offered(claims)
        (provides,) = sets
        began_s = time.perf_counter()
        reserved_sets, names = self._reserved_sets(claims)
        page, waiting = self._trips.rows(
            Statement(numbered(READY_SETS), ("", NEEDS_A_PAGE)), Statement(numbered(reserved_sets), names)
        )
        covered = covered_by(provides, page)
        if len(page) == NEEDS_A_PAGE:
            covered += self._covered_needs(provides, page[-1][0])
        if self.fronts:
            self.fronts.note(time.perf_counter() - began_s)
        reserved = self._reserved(claims, waiting)
        return {provides: self._claimable(covered, sum(claims.values()))}, reserved

    def _claimable(self, covered: Sequence[str], limit: int, lines: QueueLines | None = None) -> list[Task]:
        """The first tasks of these sets; beside others, those that none of them is about to change."""
        if len(covered) == 1:
            begin = ((self.fronts.heads() if self.fronts else None) or {}).get(covered[0], FIRST_PLACE)
            first = f"WHERE ready = 1 AND needs = ? AND (order_key, id) >= (?, ?) {self._taken}"
            return self._rows(Task, first, *covered, *begin, limit)
        lines, asked = lines or self._lines(covered), limit
        while True:
            ids = lines.first(covered, asked)
            if not ids:
                return []
            found = self._rows(Task, f"WHERE id = ANY(?) AND ready = 1 {self._taken}", array(ids), limit)
            if len(found) == limit or len(ids) < asked or not self._is_beside:
                return found
            asked *= 2

    def _covered(self, provides: frozenset[str] | None) -> list[str]:
        """Every distinct set of needs in the queue that `provides` covers, None: any."""
        fronts = self.fronts.heads() if self.fronts else None
        if fronts is not None:
            return covered_by(provides, [(needs,) for needs in fronts if needs.startswith("[")])
        began_s = time.perf_counter()
        covered = self._covered_needs(provides)
        if self.fronts:
            self.fronts.note(time.perf_counter() - began_s)
        return covered

    def _heads(self, covered: Collection[str]) -> list[Head]:
        heads = (self.fronts.heads() if self.fronts else None) or {}
        begins = [heads.get(needs, FIRST_PLACE) for needs in covered]
        order_keys, task_ids = zip(*begins, strict=True)
        return self._in_order(_HEADS, (array(covered), array(order_keys), array(task_ids)))

    @property
    def _taken(self) -> str:
        return f"ORDER BY order_key, id LIMIT ?{SKIPPING if self._is_beside else ''}"

    def new_needs(self, needs: Collection[str], limit: int) -> tuple[set[str], int]:
        """As for every backend; a set that was open a while ago is taken for open where a look at it takes long."""
        if self.fronts is None:
            return super().new_needs(needs, limit)
        asked = set(needs) - self.fronts.open_among(needs)
        new, count = super().new_needs(asked, limit) if asked else (set(), 0)
        self.fronts.note_open(asked - new)
        return new, count

    def _begin(self, name: str) -> Place:
        """The place before which there is nothing."""
        heads = self.fronts.heads() if self.fronts else None
        return FIRST_PLACE if heads is None else heads.get(name, NOWHERE)

    def _note_begins(self, rows: Sequence[Struct]) -> None:
        """Remember the tasks and daemons that claims or the alarm must find; the leases of a batch by the nearest."""
        nearest_h = 0
        for row in rows:
            if isinstance(row, Task):
                if row.ready:
                    self._made(row.needs, (row.order_key, row.id))
                elif row.status == LEASED:
                    nearest_h = min(nearest_h or row.expires_h, row.expires_h)
                elif row.status == QUEUED and not row.waiting_for:
                    self._made(DELAYS, (row.available_at, ""))
            elif isinstance(row, Daemon) and row.deadline_h:
                self._made(HEALTH, (row.deadline_h, ""))
        if nearest_h:
            self._made(LEASES, (nearest_h, ""))

    def _made(self, name: str, place: Place) -> None:
        self.made[name] = min(self.made.get(name, place), place)

    def all_fronts(self) -> Heads:
        """The first place of each set of needs, and the nearest deadlines; reads all that vacuum could not remove."""
        for setting in ("enable_seqscan", "enable_sort"):
            self._fetch("SELECT set_config(?, 'off', true)", (setting,))
        sets = self._covered_needs(None)
        found = self._heads(sets) if sets else []
        nearest = self._fetch(_NEXT_DEADLINES, (FIRST_PLACE[0],) * 3)[0]
        heads = {needs: (order_key, task_id) for order_key, task_id, needs in found}
        for name, deadline in zip((LEASES, HEALTH, DELAYS), nearest, strict=False):
            heads[name] = NOWHERE if deadline is None else (deadline, "")
        return heads

    # ---- deadlines and counts

    def next_deadlines(self) -> Deadlines:
        """The nearest deadlines of each kind."""
        began_s = time.perf_counter()
        begins = [self._begin(name)[0] for name in (LEASES, HEALTH, DELAYS)]
        found = Deadlines(*map(number_of, self._fetch(_NEXT_DEADLINES, begins)[0]))
        if self.fronts:
            self.fronts.note(time.perf_counter() - began_s)
        return found

    def _due(self, noun: type[N], condition: str, column: str, until: int, limit: int) -> list[N]:
        name = f"{TABLES[noun].name}.{column}"
        begin = self._begin(name)[0] if name in (LEASES, HEALTH, DELAYS) else FIRST_PLACE[0]
        condition += " AND expires_h > 0" if name == LEASES else ""  # as the index has it
        ordered = f"ORDER BY {column} LIMIT ?"
        found = self._rows(noun, f"WHERE {condition} AND {column} BETWEEN ? AND ? {ordered}", begin, until, limit)
        unreadable = f"WHERE {condition} AND {column} > ? {ordered}"
        return found + self._rows(noun, unreadable, NUMBER_MAX, limit - len(found))

    def count(self, query: Query[Any], *values: Any, limit: int) -> int:
        """The number of rows, counted up to `limit`."""
        heads = self.fronts.heads() if self.fronts and query is READY else None
        if heads:
            sets = {needs: place for needs, place in heads.items() if needs.startswith("[")}
            order_keys, task_ids = ([place[n] for place in sets.values()] for n in (0, 1))
            places = (array(sets), array(order_keys), array(task_ids))
            return int(self._fetch(_COUNT_READY, (*places, limit, limit))[0][0])
        return super().count(query, *values, limit=limit)

    def find(self, query: Query[N], *values: Any, limit: int = 0) -> list[N]:
        """The rows of a query, in its order."""
        if query is READY:
            return super().find(READY_FROM, *self._front_of_all(), limit=limit)  # type: ignore[arg-type]
        return super().find(query, *values, limit=limit)

    def _front_of_all(self) -> Place:
        heads = self.fronts.heads() if self.fronts else None
        if heads is None:
            return FIRST_PLACE
        return min((place for name, place in heads.items() if name.startswith("[")), default=NOWHERE)
