"""The rows that SQLite's only writer knows are those of the table, whatever happens to it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from tests.store.conformance import T0
from understudy.coordinator.nouns import Daemon, Task
from understudy.errors import StoreError
from understudy.store import row_cache, sqlite_rows
from understudy.store.base import Transaction
from understudy.store.pauses import PAUSES
from understudy.store.purges import PURGES
from understudy.store.rows import RowQueries
from understudy.store.sqlite import SqliteStore
from understudy.store.sqlite_rows import SQLITE, SqliteTransaction
from understudy.store.statements import changed_table

MINI = Daemon("mini", state="healthy", last_seen_at=T0, last_seen_h=T0)
WORK = Task("t1", status="queued", ready=1, queued_at=T0, updated_at=T0)
READ: list[str] = []


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SqliteStore]:
    store = SqliteStore(tmp_path / "hub.db")
    store.transaction(lambda tx: tx.save_many([MINI, WORK]))
    store.transaction(lambda tx: tx.load_many(Task, ["t1"]))
    READ.clear()
    real = SqliteTransaction._fetch

    def noted(self: SqliteTransaction, query: str, values: Any = ()) -> list[Any]:
        READ.append(query)
        return real(self, query, values)

    monkeypatch.setattr(SqliteTransaction, "_fetch", noted)
    yield store
    store.close()


def loaded(store: SqliteStore) -> list[Any]:
    """Both rows, as a transaction is given them."""
    return store.transaction(lambda tx: [*tx.load_many(Daemon, ["mini"]), *tx.load_many(Task, ["t1"])])


def stored(store: SqliteStore) -> list[Any]:
    """Both rows, as the table has them."""
    return store.read(lambda tx: [*tx.load_many(Daemon, ["mini"]), *tx.load_many(Task, ["t1"])])


def test_what_was_written_or_read_is_not_read_again(store: SqliteStore) -> None:
    assert loaded(store) == [MINI, WORK]
    assert READ == []
    assert stored(store) == [MINI, WORK]
    assert len(READ) == 2, "a reader has a snapshot of its own"


def test_of_many_only_the_strange_ones_are_read(store: SqliteStore) -> None:
    both = store.transaction(lambda tx: tx.load_many(Daemon, ["mini", "nobody"]))
    assert both == [MINI]
    assert len(READ) == 1


def test_a_commit_of_another_connection_is_seen(store: SqliteStore) -> None:
    with sqlite3.connect(str(store._path)) as somebody:
        somebody.execute("UPDATE daemon SET seq = 9")
        somebody.execute("DELETE FROM task")
    somebody.close()
    assert loaded(store) == stored(store) == [replace(MINI, seq=9)]


def test_nothing_of_a_transaction_that_failed_is_known(store: SqliteStore) -> None:
    def fail(tx: Transaction) -> None:
        tx.save_many([replace(MINI, seq=7), replace(WORK, token=7)])
        tx.delete_many(Task, ["t1"])
        raise KeyError

    with pytest.raises(KeyError):
        store.transaction(fail)
    assert loaded(store) == stored(store) == [MINI, WORK]


def test_nothing_of_a_commit_that_failed_is_known(store: SqliteStore) -> None:
    store.prepare(lambda tx: tx.save_many([replace(MINI, seq=7)]))
    store._before_commit = lambda: 1 / 0
    with pytest.raises(ZeroDivisionError):
        store.commit()
    store._before_commit = None
    assert loaded(store) == stored(store) == [MINI, WORK]


def test_what_was_read_with_a_stand_in_is_not_known(store: SqliteStore) -> None:
    with sqlite3.connect(str(store._path)) as somebody:
        somebody.execute("UPDATE task SET needs = '['")
    somebody.close()
    for _ in range(2):
        READ.clear()
        assert loaded(store)[1].needs != "["
        assert any("FROM task" in query for query in READ)


def test_a_row_that_is_known_and_not_there_fails_the_batch_and_is_forgotten(store: SqliteStore) -> None:
    store._writer.execute("DELETE FROM daemon")  # past all that would be noticed
    with pytest.raises(StoreError, match="is not there"):
        store.transaction(lambda tx: tx.save_many([replace(MINI, seq=2)]))
    store.transaction(lambda tx: tx.save_many([replace(MINI, seq=2)]))
    assert stored(store)[0] == replace(MINI, seq=2)


@pytest.mark.parametrize("has_update_from", [True, False])
def test_a_change_of_many_is_the_same_with_an_older_sqlite(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch, *, has_update_from: bool
) -> None:
    monkeypatch.setattr(sqlite_rows, "HAS_UPDATE_FROM", has_update_from)
    many = [replace(MINI, id=f"d{n}") for n in range(100)]
    store.transaction(lambda tx: tx.save_many(many))
    many = [replace(row, seq=n, beats=b"1%d" % n, reason=f"r{n}" if n == 7 else "") for n, row in enumerate(many)]
    store.transaction(lambda tx: tx.save_many([*many, replace(MINI, id="new")]))
    ids = [row.id for row in many]
    found = store.read(lambda tx: {row.id: row for row in tx.load_many(Daemon, ids)})
    assert [found[name] for name in ids] == many
    store._writer.execute("DELETE FROM daemon WHERE id = 'd5'")
    with pytest.raises(StoreError, match="is not there"):
        store.transaction(lambda tx: tx.save_many([replace(row, seq=9) for row in many]))


def test_what_nothing_has_changed_of_is_not_written(store: SqliteStore) -> None:
    before = store._writer.total_changes
    store.transaction(lambda tx: tx.save_many([MINI, WORK]))
    assert store._writer.total_changes == before


def test_what_was_removed_is_not_known(store: SqliteStore) -> None:
    store.transaction(lambda tx: (tx.delete_many(Daemon, ["mini"]), tx.delete_many(Task, ["t1"])))
    assert loaded(store) == []


def test_a_column_that_never_changes_is_known_as_the_table_has_it(store: SqliteStore) -> None:
    for known in (True, False):
        if not known:
            store._known.clear()
        store.transaction(lambda tx: tx.save_many([replace(WORK, token=4, priority=9)]))
        assert loaded(store) == stored(store) == [MINI, replace(WORK, token=4)]


def test_a_purge_forgets_the_rows_of_its_table_alone(store: SqliteStore) -> None:
    concerned = {"task": Task, "dedup": Task}
    for what in PURGES:
        loaded(store)
        store.transaction(lambda tx, what=what: tx.purge(what, 0, 10))
        forgotten = {noun for noun in (Daemon, Task) if not store._known.of(noun)}
        assert forgotten == {concerned[what]} if what in concerned else not forgotten, what
    loaded(store)
    store.transaction(lambda tx: tx.move_pauses(1, 0))
    assert not store._known.of(Task)


def test_a_task_that_has_ended_is_not_kept(store: SqliteStore) -> None:
    done = replace(WORK, status="done", ready=0, finished_at=T0)
    store.transaction(lambda tx: tx.save_many([done]))
    assert not store._known.of(Task)
    assert loaded(store) == stored(store) == [MINI, done]
    assert not store._known.of(Task)


def test_rows_that_changed_alike_are_written_together_each_its_own_columns(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    leased = replace(WORK, status="leased", ready=0, token=7, expires_h=T0)
    others = [replace(leased, id=f"l{n}") for n in range(3)] + [replace(WORK, id=f"q{n}") for n in range(3)]
    ids = [task.id for task in others]
    store.transaction(lambda tx: tx.save_many(others))
    store.transaction(lambda tx: tx.load_many(Task, ids))
    changed: list[tuple[str, ...]] = []
    real = SqliteTransaction._change_columns
    monkeypatch.setattr(
        SqliteTransaction,
        "_change_columns",
        lambda self, noun, names, rows: changed.append(names) or real(self, noun, names, rows),
    )
    ended = {"status": "done", "ready": 0, "finished_at": T0}
    after = [
        replace(task, **ended) if task.token else replace(leased, id=task.id, token=task.order_key + 8)
        for task in others
    ]
    store.transaction(lambda tx: tx.save_many(after))
    assert sorted(changed) == [("status", "finished_at"), ("status", "ready", "token", "expires_h")]
    assert store.read(lambda tx: tx.load_many(Task, ids)) == after


def test_only_so_many_are_known(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_cache, "ROWS_MAX", 50)
    store.transaction(lambda tx: tx.save_many([replace(MINI, id=f"d{n}") for n in range(200)]))
    known = store._known.of(Daemon)
    assert known is not None
    assert [*known] == [f"d{n}" for n in range(150, 200)]
    store.transaction(lambda tx: tx.save_many([replace(MINI, id="d150", seq=1), replace(MINI, id="another")]))
    assert [*known] == [*(f"d{n}" for n in range(152, 200)), "d150", "another"]
    assert store.read(lambda tx: tx.load_many(Daemon, ["d150"])) == [replace(MINI, id="d150", seq=1)]


def test_one_that_says_very_much_is_not_kept(store: SqliteStore) -> None:
    large = replace(MINI, loops='{"x": "%s"}' % ("x" * row_cache.CHARS_MAX))
    for row in (large, replace(large, seq=2), replace(MINI, seq=3)):
        store.transaction(lambda tx, row=row: tx.save_many([row]))
        assert stored(store)[0] == row
        assert ("mini" in (store._known.of(Daemon) or ())) == (len(row.loops) < 100)


def test_whatever_changes_rows_is_one_of_those_that_the_cache_hears_of() -> None:
    """A new way to change rows has to be one that `SqliteTransaction` overrides, or concern no such rows."""
    changing = {
        name
        for name, member in vars(RowQueries).items()
        if callable(member) and {"_change", "_change_many"} & set(member.__code__.co_names)
    }
    assert changing == {"_save", "add_usage", "delete_many", "_change_by_name"}
    assert {"_save", "delete_many", "_change_by_name"} <= set(vars(SqliteTransaction))


def written(store: SqliteStore, statement: str) -> tuple[set[str], set[str]]:
    """The tables that SQLite says a statement writes: by itself, and by triggers."""
    itself, by_triggers = set[str](), set[str]()

    def note(action: int, table: str | None, _column: str | None, _database: str | None, trigger: str | None) -> int:
        if action in {sqlite3.SQLITE_INSERT, sqlite3.SQLITE_UPDATE, sqlite3.SQLITE_DELETE}:
            (by_triggers if trigger else itself).add(table or "")
        return sqlite3.SQLITE_OK

    store._writer.set_authorizer(note)
    try:
        store._writer.execute(f"EXPLAIN {statement}", dict.fromkeys(("before", "limit", "by", "recent"), 1))
    finally:
        store._writer.set_authorizer(None)
    return itself, by_triggers


BY_CONDITION = [*chain.from_iterable(PURGES.values()), *(pause.statement for pause in PAUSES)]


@pytest.mark.parametrize("statement", BY_CONDITION)
def test_the_table_that_a_statement_changes_is_the_one_that_is_forgotten(store: SqliteStore, statement: str) -> None:
    assert written(store, SQLITE.sql(statement))[0] == {changed_table(statement)}


def test_a_statement_whose_table_is_not_known_is_refused() -> None:
    for statement in ("WITH old AS (SELECT 1) DELETE FROM task", "UPDATE OR IGNORE task SET note = ''"):
        with pytest.raises(ValueError, match="not known"):
            changed_table(statement)


def test_no_trigger_writes_rows_that_may_be_known(store: SqliteStore) -> None:
    tables = {name for (name,) in store._writer.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    by_triggers = set[str]()
    for table in tables - {"sqlite_sequence"}:
        columns = [row[1] for row in store._writer.execute(f"PRAGMA table_info({table})")]
        changes = ", ".join(f"{name} = {name}" for name in columns)
        for statement in (
            f"DELETE FROM {table}",
            f"UPDATE {table} SET {changes}",
            f"INSERT INTO {table} SELECT * FROM {table}",
        ):
            by_triggers |= written(store, statement)[1]
    assert by_triggers == {"usage", "daemon_count"}


NAMES = "abcdef"
SOME = st.lists(st.sampled_from(NAMES), min_size=1, max_size=6, unique=True)
STEPS = st.one_of(
    st.tuples(st.sampled_from(["save", "work"]), SOME, st.integers(1, 5), st.booleans()),
    st.tuples(st.just("remove"), SOME, st.just(0), st.booleans()),
    st.tuples(st.just("purge"), st.sampled_from(sorted(PURGES)), st.integers(1, 5), st.booleans()),
    st.tuples(st.just("move"), st.just(""), st.integers(1, 5), st.booleans()),
    st.tuples(st.just("foreign"), SOME, st.integers(1, 5), st.just(value=False)),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(steps=st.lists(STEPS, max_size=25))
def test_whatever_happens_they_are_those_of_the_table_and_nothing_is_lost(
    tmp_path_factory: Any, monkeypatch: pytest.MonkeyPatch, steps: list[Any]
) -> None:
    monkeypatch.setattr(row_cache, "ROWS_MAX", 3)
    store = SqliteStore(tmp_path_factory.mktemp("cache") / "hub.db")
    model: dict[str, tuple[int, str]] = {}  # of the daemons: seq and state
    try:
        for kind, names, number, fails in steps:
            if kind == "foreign":
                with sqlite3.connect(str(store._path)) as somebody:
                    for name in names:
                        somebody.execute("UPDATE daemon SET seq = ? WHERE id = ?", (number, name))
                        somebody.execute("UPDATE task SET token = ? WHERE id = ?", (number, name))
                        model |= {name: (number, model[name][1])} if name in model else {}
                somebody.close()
            else:
                act(store, kind, names, number, fails=fails)
            if kind == "save" and not fails:
                model |= dict.fromkeys(names, (number, STATES[number % 3]))
            elif kind == "remove" and not fails:
                model = {name: said for name, said in model.items() if name not in names}
            table = store.read(lambda tx: {*tx.load_many(Daemon, NAMES), *tx.load_many(Task, NAMES)})
            assert {row.id: (row.seq, row.state) for row in table if isinstance(row, Daemon)} == model
            assert store.transaction(lambda tx: {*tx.load_many(Daemon, NAMES), *tx.load_many(Task, NAMES)}) == table
    finally:
        store.close()


class UndoneError(Exception):
    """Ends a transaction."""


STATES = ("healthy", "late", "down")


def act(store: SqliteStore, kind: str, names: Any, number: int, *, fails: bool) -> None:
    """One transaction, which may fail at its end."""

    def change(tx: Transaction) -> None:
        match kind:
            case "save":
                here = {row.id: row for row in tx.load_many(Daemon, names)}
                said = {"seq": number, "state": STATES[number % 3], "deadline_h": number}
                tx.save_many([replace(here.get(name) or Daemon(name), **said) for name in names])
            case "work":
                is_over = number % 2
                said = {"token": number, "ready": 0, "available_at": number, "attempts": 1, "finished_at": is_over}
                status = "done" if is_over else "queued"
                tx.save_many([replace(WORK, id=name, status=status, dedup_key=name, **said) for name in names])
            case "remove":
                tx.delete_many(Daemon, names)
                tx.delete_many(Task, names)
            case "purge":
                tx.purge(names, number * 1000, 10)
            case "move":
                tx.move_pauses(number, 0)
        if fails:
            raise UndoneError

    try:
        store.transaction(change)
    except UndoneError:
        assert fails
