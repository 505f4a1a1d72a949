"""The store of a Durable Object passes the conformance exercise, on a stand-in that refuses what the place refuses."""

from __future__ import annotations

import pytest

from tests.store.conformance import StoreConformance, queued
from tests.store.durable_storage import Buffer, JsError, Storage
from tests.store.paging import PagingExercise
from tests.store.searches import SearchExercise
from tests.store.sums import SumsExercise
from understudy.errors import StoreDownError, StoreError, StoreVersionError, TooLargeError
from understudy.store.durable import DurableStore
from understudy.store.queries import READY
from understudy.store.tables import SCHEMA_VERSION


class TestDurable(StoreConformance, SearchExercise, PagingExercise, SumsExercise):
    @pytest.fixture
    def store(self) -> DurableStore:
        return DurableStore(Storage(), Buffer)


def test_the_stand_in_refuses_what_the_place_refuses() -> None:
    sql = Storage().sql
    for refused in ("BEGIN", "SAVEPOINT a", "PRAGMA user_version", "ATTACH ':memory:' AS a"):
        with pytest.raises(JsError):
            sql.exec(refused)
    with pytest.raises(JsError):
        sql.exec(f"SELECT {','.join('?' * 101)}", *range(101))
    with pytest.raises(JsError):
        sql.exec("SELECT ?", 1 << 60)
    assert sql.exec("SELECT (5 - ?) / ?, typeof(?)", 2, 2, True).to_py() == [[1.5, "text"]]


def test_an_evicted_object_finds_its_store_and_a_newer_one_is_refused() -> None:
    first = Storage()
    DurableStore(first, Buffer).transaction(lambda tx: tx.save_many((queued("x"),)))
    before = first.sql.statements
    again = Storage(first.connection)
    store = DurableStore(again, Buffer)
    assert store.read(lambda reader: reader.count(READY, limit=10)) == 1
    assert before > 2
    assert again.sql.statements == 3  # a wake-up costs two statements: the table is there, and its version
    again.sql.exec("INSERT INTO understudy_schema (version) VALUES (?)", SCHEMA_VERSION + 1)
    with pytest.raises(StoreVersionError, match="deploy the newer"):
        DurableStore(Storage(first.connection), Buffer)


def test_what_is_raised_in_a_transaction_comes_out_as_it_was_and_nothing_is_kept() -> None:
    store = DurableStore(Storage(), Buffer)

    def fail(tx: object) -> None:
        tx.save_many((queued("x"),))  # type: ignore[attr-defined]
        raise KeyError("a bug")

    with pytest.raises(KeyError, match="a bug"):
        store.transaction(fail)
    assert store.read(lambda reader: reader.count(READY, limit=10)) == 0


def test_a_commit_that_fails_is_the_stores_failure_and_a_statement_only_that_of_its_request() -> None:
    storage = Storage()
    store = DurableStore(storage, Buffer)
    with pytest.raises(TooLargeError):
        store.transaction(lambda tx: tx.save_many((queued("x", source="x" * (3 << 20)),)))
    with pytest.raises(StoreError) as refused:
        store.transaction(lambda tx: tx._exec("SELECT no_such_column FROM task", ()))
    assert not isinstance(refused.value, StoreDownError)

    def broken(fn: object) -> None:
        raise JsError("the object is reset")

    storage.transactionSync = broken  # type: ignore[method-assign,assignment]
    with pytest.raises(StoreDownError):
        store.transaction(lambda tx: tx.save_many((queued("x"),)))
