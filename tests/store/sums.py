"""What is kept as a sum, and lists that read their own page: the same on every backend."""

from __future__ import annotations

import pytest
from msgspec import Struct
from msgspec.structs import replace

from tests.store.conformance import T0, leased, queued
from understudy.coordinator.nouns import Daemon, Notice
from understudy.store import lists
from understudy.store.base import Store, TaskFilter
from understudy.store.queries import AILING, NOTICES_IN

LAST = (1 << 53, "")  # after all instants


def save(store: Store, *rows: Struct) -> None:
    store.transaction(lambda tx: tx.save_many(rows))


def states(store: Store) -> dict[str, int]:
    return store.read(lambda reader: reader.daemon_states())


def listed(store: Store, wanted: TaskFilter, sorted_max: int) -> list[str]:
    """The ids of a list, where so many tasks are still sorted."""
    before, lists.SORTED_MAX = lists.SORTED_MAX, sorted_max
    try:
        return [task.id for task in store.read(lambda reader: reader.list_tasks(wanted))]
    finally:
        lists.SORTED_MAX = before


class SumsExercise:
    """Subclasses offer the fixture `store`: an empty store."""

    def test_daemons_are_counted_by_state_with_every_change_of_one(self, store: Store) -> None:
        assert states(store) == {}
        save(store, *(Daemon(f"d{n}", "healthy") for n in range(3)), Daemon("x", "down"))
        assert states(store) == {"healthy": 3, "down": 1}
        save(store, Daemon("d0", "healthy", version="2"), Daemon("d1", "late"), Daemon("x", "late"))
        assert states(store) == {"healthy": 2, "late": 2}
        store.transaction(lambda tx: tx.save_many([replace(d, state="down") for d in tx.load_many(Daemon, ("d0",))]))
        store.transaction(lambda tx: tx.delete_many(Daemon, ("d1", "nobody")))
        assert states(store) == {"healthy": 1, "late": 1, "down": 1}

    def test_a_transaction_that_failed_has_counted_nothing(self, store: Store) -> None:
        save(store, Daemon("d", "healthy"))

        def fail(tx: object) -> None:
            tx.save_many([Daemon("d", "down"), Daemon("e", "down")])  # type: ignore[attr-defined]
            raise ValueError("whatever")

        with pytest.raises(ValueError, match="whatever"):
            store.transaction(fail)
        assert states(store) == {"healthy": 1}

    def test_daemons_that_people_look_at_first_are_found_by_name(self, store: Store) -> None:
        save(store, *(Daemon(f"d{n}", state) for n, state in enumerate(("late", "down", "healthy", "down", "stuck"))))
        found = store.read(lambda reader: [[row.id for row in reader.find(query, limit=9)] for query in AILING])
        assert found == [["d1", "d3"], ["d4"], ["d0"]]

    def test_notices_are_listed_by_state_newest_first(self, store: Store) -> None:
        words = ("dead", "sent", "dead", "waiting", "dead")
        save(store, *(Notice(f"n{n}", "c", "notice", "x", state=s, created_at=T0 + n) for n, s in enumerate(words)))

        def found(*after: object) -> list[str]:
            return [row.id for row in store.read(lambda reader: reader.find(NOTICES_IN, "dead", *after, limit=2))]

        assert found(*LAST) == ["n4", "n2"]
        assert found(T0 + 2, "n2") == ["n0"]

    def test_tasks_of_a_status_are_listed_the_same_whether_they_are_few_or_many(self, store: Store) -> None:
        done = {"ready": 0, "ended": "done", "status": "done"}
        save(
            store,
            *(queued(f"q{n}", n) for n in range(3)),
            *(queued(f"d{n}", 10 + n, finished_at=T0 + n + 1, **done) for n in range(3)),
            *(leased(f"l{n}", queued_at=T0 + 20 + n) for n in range(3)),
        )
        for sorted_max in (-1, 5_000):
            for status, name, at in (("queued", "q", T0), ("done", "d", T0 + 10), ("leased", "l", T0 + 20)):
                assert listed(store, TaskFilter(status, limit=2), sorted_max) == [f"{name}2", f"{name}1"]
                more = TaskFilter(status, before_key=at + 1, before_id=f"{name}1")
                assert listed(store, more, sorted_max) == [f"{name}0"]
