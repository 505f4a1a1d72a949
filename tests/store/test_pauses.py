"""What waits for a while moves with the wall clock: all of it once, and on SQLite few rows in a statement."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from msgspec import Struct

from tests.store.conformance import T0, queued
from understudy.coordinator.nouns import Incident, Link, Notice, Task, TaskBody
from understudy.store import sqlite_rows
from understudy.store.pauses import PAUSES
from understudy.store.sqlite import SqliteStore
from understudy.store.sqlite_rows import SqliteTransaction

NOUNS = (Notice, Task, Incident, Link)
HOUR = 3_600_000
MOST = 3


def rows() -> Iterator[Struct]:
    """Of each table some that move and some that do not, among each other."""
    for n in range(20):
        yield queued(f"t{n}", ready=n % 2, available_at=T0 + n, attempts=n % 4 // 2)
        yield TaskBody(f"t{n}", '{"availableAt":5}' if n % 3 else "{}")
        state = "sent" if n % 3 else "waiting"
        times = {"next_at": T0 + n, "due_at": T0 + n, "created_at": T0 - n, "sent_at": T0 - n * HOUR // 8}
        yield Notice(f"n{n}", "ops", "answer" if n % 4 else "notice", "test", state=state, taken_until=n, **times)
        yield Incident(f"i{n}", "mini", "late", T0, T0, snoozed_until=T0 + n * (-1) ** n)
        yield Link(f"l{n}", "read", "t", T0, T0 + n * (-1) ** n)


def moved(by_ms: int) -> tuple[list[Struct], list[int]]:
    """The rows after a jump, and how many each statement has changed."""
    store, changed = SqliteStore(None), []
    real = SqliteTransaction._change

    def noted(self: SqliteTransaction, statement: str, values: Any = ()) -> int:
        changed.append(real(self, statement, values))
        return changed[-1]

    try:
        store.transaction(lambda tx: tx.save_many([*rows()]))
        for noun, key in ((Task, "t4"), (Notice, "n0"), (Incident, "i19"), (Link, "l8")):
            store.transaction(lambda tx, noun=noun, key=key: tx.delete_many(noun, [key]))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(SqliteTransaction, "_change", noted)
            store.transaction(lambda tx: tx.move_pauses(by_ms, T0))
        return store.read(lambda tx: [row for noun in NOUNS for row in tx.load_all(noun, 99)]), changed
    finally:
        store.close()


@pytest.mark.parametrize("by_ms", [7 * HOUR, -7 * HOUR])
def test_no_statement_moves_more_rows_than_its_bound_and_the_result_is_that_of_one(
    monkeypatch: pytest.MonkeyPatch, by_ms: int
) -> None:
    at_once, changed = moved(by_ms)
    assert len(changed) == len(PAUSES)
    assert min(changed) > MOST
    monkeypatch.setattr(sqlite_rows, "MOVED_MAX", MOST)
    in_parts, each = moved(by_ms)
    assert in_parts == at_once
    assert max(each) == MOST
    assert sum(each) == sum(changed)


def test_few_rows_are_found_by_an_index_however_many_others_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_rows, "MOVED_MAX", MOST)
    store = SqliteStore(None)
    store.transaction(lambda tx: tx.save_many([queued(f"t{n}", ready=int(n > MOST)) for n in range(1, 50)]))
    asked: list[str] = []
    store._writer.set_trace_callback(asked.append)
    store.transaction(lambda tx: tx.move_pauses(7, T0))
    store._writer.set_trace_callback(None)
    about_tasks = {one for one in asked if "task SET" in one or "FROM task WHERE" in one}
    assert len(about_tasks) == 2
    for statement in about_tasks:
        plan = " ".join(row[3] for row in store._writer.execute(f"EXPLAIN QUERY PLAN {statement}"))
        assert "task_delayed" in plan
    assert [task.available_at for task in store.read(lambda tx: tx.load_all(Task, 99))].count(7) == MOST
    store.close()


@pytest.mark.parametrize("pause", PAUSES, ids=lambda pause: pause.table)
def test_parts_are_found_by_their_place_alone(pause: Any) -> None:
    store = SqliteStore(None)
    asked: list[str] = []
    store._writer.set_trace_callback(asked.append)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sqlite_rows, "MOVED_MAX", -1)
        patch.setattr(SqliteTransaction, "_ranges", lambda *_: [(0, 9)])
        store.transaction(lambda tx: tx._move(pause, {"by": 1, "before": T0, "recent": 1}))
    store._writer.set_trace_callback(None)
    (statement,) = {one for one in asked if one.startswith("UPDATE")}
    plan = [row[3] for row in store._writer.execute(f"EXPLAIN QUERY PLAN {statement}")]
    assert plan[0] == f"SEARCH {pause.table} USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)"
    store.close()
