"""Statements that travel together: answers in their order, nothing after a failure, few trips for a batch of tasks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, suppress
from typing import Any

import psycopg
import pytest
from psycopg import errors

from tests.postgres import Server
from tests.store.conformance import leased, queued
from tests.store.emptying import empty
from understudy.clock import ManualClock
from understudy.coordinator.nouns import Attempt, Policy, Task
from understudy.hub.batch import Engine
from understudy.hub.claims import ClaimTasks
from understudy.hub.enqueue import EnqueueTasks
from understudy.hub.results import ReportResults
from understudy.ids import IdMaker
from understudy.store.postgres import PostgresStore
from understudy.store.postgres_pipeline import PREPARED_AFTER, Pipeline, Statement
from understudy.store.postgres_wire import PostgresConnection
from understudy.wire.tasks import ClaimBody, EnqueueBody, ResultItem

ONE, BROKEN = Statement("SELECT $1::text", ("é\0",)), Statement("SELECT 1 / 0")


@pytest.fixture
def link(postgres_server: Server) -> Iterator[PostgresConnection]:
    with closing(PostgresConnection(postgres_server.url())) as link:
        yield link


@pytest.fixture(scope="module")
def database(postgres_server: Server) -> str:
    url = postgres_server.new_database()
    PostgresStore(url).close()
    return url


@pytest.fixture
def store(database: str) -> Iterator[PostgresStore]:
    empty(database)
    store = PostgresStore(database)
    yield store
    store.close()


def answers(link: PostgresConnection, *statements: Statement) -> list[list[Any]]:
    results, error = link.pipeline.run(statements)
    assert error is None
    return [link.pipeline.rows(result) for result in results]


def test_each_statement_is_answered_in_its_order_also_once_it_is_prepared(link: PostgresConnection) -> None:
    asked = (ONE, Statement("SELECT $1, $2::bytea", (7, b"\0"), is_binary=True), Statement("SELECT 1 WHERE false"))
    for _ in range(PREPARED_AFTER + 2):
        assert answers(link, *asked) == [[("é\ufffd",)], [(7, b"\0")], []]
    assert answers(link, Statement("SELECT count(*) FROM pg_prepared_statements")) == [[(3,)]]


def test_nothing_after_a_failure_is_run_and_the_connection_goes_on(link: PostgresConnection) -> None:
    for _ in range(PREPARED_AFTER + 2):
        results, error = link.pipeline.run((ONE, BROKEN, Statement("SELECT set_config('a.b', 'set', false)")))
        assert len(results) == 1
        assert isinstance(error, errors.DivisionByZero)
    assert answers(link, Statement("SELECT coalesce(current_setting('a.b', true), '')")) == [[("",)]]


def test_more_than_both_sides_can_hold_passes_in_one_trip(link: PostgresConnection) -> None:
    large = "x" * 300_000
    found = answers(link, *(Statement("SELECT $1::text", (large,)) for _ in range(40)))
    assert [row for ((row,),) in found] == [large] * 40


def test_a_connection_that_is_lost_on_the_way_is_known_as_lost(link: PostgresConnection) -> None:
    end = Statement("SELECT pg_terminate_backend(pg_backend_pid())")
    with suppress(psycopg.OperationalError):
        assert link.pipeline.run((end, ONE))[1] is not None
    with pytest.raises(psycopg.Error):
        link.pipeline.run((ONE,))
    assert link.is_lost


# ---- of transactions


def test_what_was_read_is_saved_by_the_columns_that_have_changed(store: PostgresStore) -> None:
    first, second = leased("a", token=1, note="one"), leased("b", token=1, note="two")
    store.transaction(lambda tx: tx.save_many([first, second]))

    def act(tx: Any) -> None:
        tx.load_many(Task, ["a", "b"])
        tx._change("UPDATE task SET note = 'else' WHERE id = 'a'")  # as rules of the store itself do
        tx.save_many([leased("a", token=2, note="one"), leased("b", token=1, note="again")])
        tx.save_many([leased("b", token=3, note="again")])

    store.transaction(act)
    found = {task.id: (task.token, task.note) for task in store.read(lambda tx: tx.load_all(Task, 9))}
    assert found == {"a": (2, "one"), "b": (3, "again")}


def test_a_row_that_was_read_removed_and_saved_is_there(store: PostgresStore) -> None:
    store.transaction(lambda tx: tx.save_many([queued("a"), queued("b")]))

    def act(tx: Any) -> None:
        rows = tx.load_many(Task, ["a", "b"])
        tx.delete_many(Task, ["a"])
        tx.save_many(rows)

    store.transaction(act)
    assert [task.id for task in store.read(lambda tx: tx.load_all(Task, 9))] == ["a", "b"]


def test_rows_with_keys_of_two_columns_are_found_in_one_trip(store: PostgresStore, trips: list[int]) -> None:
    rows = [Attempt(f"t{n % 3}", n, "w", "", "", 1) for n in range(9)]
    store.transaction(lambda tx: tx.save_many(rows))
    keys = [(row.task_id, row.token) for row in rows]
    store.read(lambda tx: tx.load_many(Attempt, [("none", 1)]))  # its connection is made
    trips.clear()
    found = store.read(lambda tx: tx.load_many(Attempt, [*keys, ("t0", 1), ("none", 1)]))
    assert sorted(found, key=lambda row: row.token) == rows
    assert len(trips) == 2  # that one, and the end


@pytest.fixture
def trips(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of statements in each trip."""
    made: list[int] = []
    run = Pipeline.run

    def counted(pipeline: Pipeline, statements: Any) -> Any:
        made.append(len(statements))
        return run(pipeline, statements)

    monkeypatch.setattr(Pipeline, "run", counted)
    return made


def test_fifty_tasks_are_claimed_and_reported_in_few_trips(store: PostgresStore, trips: list[int]) -> None:
    clock = ManualClock()
    engine = Engine(store, clock, IdMaker(clock), Policy())
    ids = [f"task-{n:03}" for n in range(150)]
    engine.run([EnqueueTasks([EnqueueBody(content="x") for _ in ids], ids, "k", is_bounded=False)])
    counts = []
    for _ in range(3):  # the first wakes the hearing
        trips.clear()
        claimed = engine.run([ClaimTasks(ClaimBody(max=50), "w")]).answers[0]
        counts.append(len(trips))
        items = [
            ResultItem(success=True, output="y", task_id=task_id, token=item.lease.token)
            for task_id, item in zip(ids[25 * (len(counts) - 1) :], claimed.tasks, strict=False)
        ]
        trips.clear()
        answer = engine.run([ReportResults(items)]).answers[0]
        counts.append(len(trips))
        assert all(one.success for one in answer.results)
    assert counts[-2] <= 6
    assert counts[-1] <= 6
