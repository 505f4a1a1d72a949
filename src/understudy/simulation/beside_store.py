"""A transaction of a simulated database beside which others run: held to the rows that it has locked."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from understudy.clock import Clock
from understudy.coordinator.changes import Event
from understudy.coordinator.nouns import Deployment, Hearing, Memory, Task
from understudy.simulation.world import ViolationError
from understudy.store.base import Claimant, StoredEvent, Transaction
from understudy.store.queries import Query
from understudy.store.tables import LOCKED, OWNERS, TABLES

RULE = "a batch beside others saves what it has locked"


class BesideTransaction:
    """A transaction that others run beside; ViolationError for a row that it may not save."""

    def __init__(self, tx: Transaction, passed_over: Callable[[], bool]) -> None:
        self._tx: Any = tx
        self._passed_over = passed_over
        self._locked: dict[type[Struct], set[Any]] = defaultdict(set)

    def __getattr__(self, name: str) -> Any:
        if name in ("move_pauses", "purge", "place_events"):
            raise ViolationError("some things are done alone", name)
        return getattr(self._tx, name)

    # ---- what is read, and with that locked

    def load_many(self, noun: type[Any], keys: Collection[Any]) -> list[Any]:
        """Rows that are there are locked; one that is not there is inserted, which fails if another hub was first."""
        if noun in LOCKED:
            self._locked[noun].update(keys)
        found: list[Any] = self._tx.load_many(noun, keys)
        return found

    def load_each(self, wanted: Mapping[type[Struct], Collection[Any]]) -> dict[type[Struct], list[Any]]:
        """The same of several nouns, in their order."""
        return {noun: self.load_many(noun, keys) for noun, keys in wanted.items()}

    def find(self, query: Query[Any], *values: Any, limit: int = 0) -> list[Any]:
        """Rows by a condition."""
        return self._lock(query.noun, self._tx.find(query, *values, limit=limit))

    def claimable(self, provides: frozenset[str], limit: int) -> list[Task]:
        """Without those that another hub has locked."""
        return self._lock(Task, [t for t in self._tx.claimable(provides, limit) if not self._passed_over()])

    def offered(self, claims: Mapping[Claimant, int]) -> tuple[dict[frozenset[str], list[Task]], list[Task]]:
        """Both, each in its own way."""
        sets = dict.fromkeys(provides for provides, _ in claims)
        ready = {provides: self.claimable(provides, sum(claims.values())) for provides in sets}
        return ready, self._lock(Task, self._tx.reserved(claims))

    def _lock(self, noun: type[Struct], rows: list[Any]) -> list[Any]:
        if noun in LOCKED:
            self._locked[noun].update(TABLES[noun].key_of(row) for row in rows)
        return rows

    # ---- what is saved

    def save_many(self, rows: Sequence[Struct]) -> None:
        """Rows of its own."""
        for row in rows:
            if not self._may_save(row):
                raise ViolationError(RULE, str(row))
        self._tx.save_many([self._moved_ahead(row) if isinstance(row, Hearing) else row for row in rows])

    def delete_many(self, noun: type[Struct], keys: Collection[Any]) -> None:
        """Rows about a task of its own."""
        for key in keys:
            if OWNERS.get(noun) != {"task_id": Task} or key not in self._locked[Task]:
                raise ViolationError(RULE, f"{noun.__name__} {key} removed")
        self._tx.delete_many(noun, keys)

    def append_events(self, events: Sequence[Event]) -> list[StoredEvent]:
        """Each hub's events get places of their own."""
        stored: list[StoredEvent] = self._tx.append_events(events)
        return stored

    def now_ms(self, clock: Clock) -> int:
        """The clock of the database."""
        now: int = self._tx.now_ms(clock)
        return now

    def _may_save(self, row: Struct) -> bool:
        noun = type(row)
        if noun in LOCKED:
            return TABLES[noun].key_of(row) in self._locked[noun]
        if isinstance(row, Memory):
            return any(row.id.startswith(f"{task_id}:") for task_id in self._locked[Task])
        if isinstance(row, Hearing):
            return True
        if isinstance(row, Deployment):  # the start of the hub itself, while it runs
            return not row.ended_at
        return any(getattr(row, column) in self._locked[owner] for column, owner in OWNERS.get(noun, {}).items())

    def _moved_ahead(self, row: Hearing) -> Hearing:
        kept: Hearing = self._tx.load_many(Hearing, (row.id,))[0]
        if replace(row, heard_at=kept.heard_at) != kept:
            raise ViolationError("beside others a hub only hears", f"{kept} becomes {row}")
        return replace(kept, heard_at=max(kept.heard_at, row.heard_at))
