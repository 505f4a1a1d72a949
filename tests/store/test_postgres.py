"""PostgreSQL passes the conformance exercise on a real server, and keeps what is its own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest
from msgspec.structs import fields, replace
from psycopg.conninfo import make_conninfo

from tests.postgres import Server, running_server
from tests.store.conformance import T0, StoreConformance, leased, queued
from tests.store.emptying import empty
from tests.store.paging import PagingExercise
from tests.store.searches import SearchExercise
from tests.store.sums import SumsExercise
from tests.waiting import eventually
from understudy.clock import ManualClock, SystemClock
from understudy.coordinator.changes import Event
from understudy.coordinator.nouns import Daemon, Task, TaskBody
from understudy.errors import SlowReadError, StoreDownError, StoreError, StoreVersionError
from understudy.store import postgres_schema, postgres_statements, postgres_wire
from understudy.store.base import EventFilter
from understudy.store.postgres import PostgresStore
from understudy.store.postgres_pipeline import Pipeline, Statement
from understudy.store.postgres_rows import PostgresTransaction
from understudy.store.postgres_wire import PostgresConnection
from understudy.store.queries import READY
from understudy.store.tables import SCHEMA_VERSION, TABLES


@pytest.fixture(scope="module")
def database(postgres_server: Server) -> str:
    """A database with the schema in it, for all tests of this file."""
    url = postgres_server.new_database()
    PostgresStore(url).close()
    return url


@pytest.fixture
def url(database: str) -> str:
    empty(database)
    return database


class TestPostgres(StoreConformance, SearchExercise, PagingExercise, SumsExercise):
    @pytest.fixture
    def store(self, url: str) -> Iterator[PostgresStore]:
        store = PostgresStore(url)
        yield store
        store.close()


def test_tables_have_the_columns_of_their_nouns(url: str) -> None:
    with closing(psycopg.connect(url)) as connection:
        for noun, table in TABLES.items():
            names = "SELECT column_name, data_type, coalesce(collation_name, '') FROM information_schema.columns"
            found = connection.execute(f"{names} WHERE table_name = %s", (table.name,)).fetchall()
            types = {str: ("text", "C"), int: ("bigint", ""), bytes: ("bytea", "")}
            wanted = {(field.encode_name, *types[field.type]) for field in fields(noun)}
            assert set(found) == wanted, table.name


@pytest.fixture
def store(url: str) -> Iterator[PostgresStore]:
    store = PostgresStore(url)
    yield store
    store.close()


def save(store: PostgresStore, *rows: Any) -> None:
    store.transaction(lambda tx: tx.save_many(rows))


def ids(store: PostgresStore) -> list[str]:
    return sorted(task.id for task in store.read(lambda tx: tx.load_all(Task, 99)))


def setting(tx: Any, name: str) -> str:
    return str(tx._fetch("SELECT current_setting(?)", (name,))[0][0])


# ---- what is written and read


def test_a_reader_cannot_write_and_sees_one_moment(store: PostgresStore) -> None:
    with pytest.raises(StoreError):
        store.read(lambda tx: tx.save_many((queued("x"),)))  # type: ignore[attr-defined]

    def look(tx: Any) -> tuple[int, int]:
        before = tx.count(READY, limit=10)
        save(store, queued("x"))
        return before, tx.count(READY, limit=10)

    assert store.read(look) == (0, 0)
    assert store.read(lambda tx: tx.count(READY, limit=10)) == 1


def test_a_read_ends_at_its_deadline_in_the_database_and_here(store: PostgresStore) -> None:
    with pytest.raises(SlowReadError):
        store.read(lambda tx: tx._fetch("SELECT pg_sleep(20)"), 20)  # type: ignore[attr-defined]

    def many(tx: Any) -> None:
        while True:
            tx.ready_ids(1)

    with pytest.raises(SlowReadError):
        store.read(many, 20)
    assert store.read(lambda tx: setting(tx, "statement_timeout")) == "0", (
        "the next one on this connection has all time"
    )
    assert store.read(lambda tx: tx.ready_ids(1)) == []


def test_texts_that_postgresql_cannot_hold_are_kept_as_far_as_it_can(store: PostgresStore) -> None:
    odd = 'a\0b {"c,\\"} NULL \\N \u2028 \U0001f431'
    save(store, queued("one", note=odd), queued("two", note=odd))
    save(store, queued("three", note=odd))
    found = {task.note for task in store.read(lambda tx: tx.load_all(Task, 9))}
    assert found == {odd.replace("\0", "\ufffd")}


def test_texts_are_what_they_were_whatever_encoding_the_address_asks_for(url: str) -> None:
    with closing(PostgresStore(f"{url}&client_encoding=latin1")) as store:
        save(store, queued("é"))
        assert ids(store) == ["é"]


def test_flags_are_numbers_one_by_one_and_many_at_once(store: PostgresStore) -> None:
    save(store, Daemon("one", paused=True))  # type: ignore[arg-type]
    save(store, *(Daemon(f"d{n}", paused=bool(n)) for n in range(2)))  # type: ignore[arg-type]
    assert [(row.id, row.paused) for row in store.read(lambda tx: tx.load_all(Daemon, 9))] == [
        ("d0", 0), ("d1", 1), ("one", 1),
    ]  # fmt: skip


@pytest.mark.parametrize("shapes", [100, 0])
def test_what_is_the_same_in_all_rows_is_sent_once(
    store: PostgresStore, monkeypatch: pytest.MonkeyPatch, shapes: int
) -> None:
    """As far as there is room for one more kind of statement; what is saved is the same in any case."""
    monkeypatch.setattr(postgres_statements, "_shapes", set())
    monkeypatch.setattr(postgres_statements, "SHAPES_MAX", shapes)
    texts: list[str] = []
    later = PostgresTransaction._later
    monkeypatch.setattr(
        PostgresTransaction, "_later", lambda tx, text, values: (texts.append(text), later(tx, text, values))[1]
    )
    made = [queued(f"t{n}", n, note='"\\', user_id=f"u{n % 2}") for n in range(20)]
    save(store, *made)
    taken = [replace(task, status="leased", ready=0, token=7 + n, expires_h=T0) for n, task in enumerate(made)]
    store.transaction(lambda tx: (tx.load_many(Task, [task.id for task in made]), tx.save_many(taken)))
    assert sorted(store.read(lambda tx: tx.load_all(Task, 99)), key=lambda task: task.token) == taken
    words = ("INSERT INTO task (", "UPDATE task ")  # hubs of other tests may still be ending
    inserted, updated = (next(text for text in texts if text.startswith(word)) for word in words)
    assert (inserted.count("[]"), updated.count("[]")) == ((4, 2) if shapes else (len(TABLES[Task].columns), 5))


def test_events_that_are_all_the_same_are_as_many_as_were_appended(store: PostgresStore) -> None:
    stored = store.transaction(lambda tx: tx.append_events([Event(T0, "info", "name", "Part", "", {})] * 20))
    assert store.read(lambda tx: tx.list_events(EventFilter())) == stored
    assert len({one.id for one in stored}) == 20


@pytest.mark.parametrize("alone", [True, False])
def test_places_of_events_go_on_where_a_copy_of_the_database_has_left_the_sequence_behind(
    url: str, store: PostgresStore, alone: bool
) -> None:
    """As logical replication does it, with which databases are moved and upgraded: every write failed then."""
    event = Event(T0, "info", "hub.started", "Hub", "x", {})
    store.transaction(lambda tx: tx.append_events([event] * 40))
    with closing(psycopg.connect(url, autocommit=True)) as copied:
        copied.execute("SELECT setval('event_id', 1, false)")
    stored = store.transaction(lambda tx: tx.append_events([event] * 2), alone=alone)
    assert [one.id for one in stored] == [41, 42]
    assert len(store.read(lambda tx: tx.list_events(EventFilter(limit=100)))) == 42


def test_a_read_that_outlives_its_store_leaves_no_connection(url: str) -> None:
    store = PostgresStore(url)
    assert store.read(lambda tx: (store.close(), tx.ready_ids(1))[1]) == []
    with closing(psycopg.connect(url, autocommit=True)) as connection:
        others = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'understudy-hub' AND datname = %s"
        asked = lambda: connection.execute(others, (connection.info.dbname,)).fetchone()  # noqa: E731
        eventually(lambda: asked() == (0,), what="no connection is left")


def test_a_task_that_names_its_instant_is_not_moved_whatever_its_text_is(store: PostgresStore) -> None:
    specs = {"named": '{"availableAt":5}', "odd": "{", "none": '{"availableAt":null}', "nul": '{"content":"\\u0000"}'}
    rows = [queued(key, ready=0, available_at=T0) for key in specs]
    save(store, *rows, *(TaskBody(key, spec) for key, spec in specs.items()))
    store.transaction(lambda tx: tx.move_pauses(7, T0))
    found = {task.id: task.available_at - T0 for task in store.read(lambda tx: tx.load_all(Task, 9))}
    assert found == {"named": 0, "odd": 7, "none": 7, "nul": 7}


def test_time_is_the_databases_and_a_tests_own_only_if_it_says_so(url: str, store: PostgresStore) -> None:
    clock = ManualClock(T0)
    assert abs(store.read(lambda tx: tx.now_ms(clock)) - SystemClock().now_ms()) < 60_000
    other = PostgresStore(url, own_clock=True)
    assert other.transaction(lambda tx: tx.now_ms(clock)) == T0
    other.close()


def test_commits_are_durable_and_every_statement_has_its_time(store: PostgresStore) -> None:
    def told(tx: Any) -> list[str]:
        return [setting(tx, name) for name in ("synchronous_commit", "idle_in_transaction_session_timeout", "jit")]

    assert store.transaction(told) == ["on", "5s", "off"], "the server of these tests has synchronous_commit off"
    assert store.transaction(lambda tx: setting(tx, "application_name")) == "understudy-hub"


@pytest.mark.parametrize(
    ("given", "wanted"), [("off", "on"), ("on", "on"), ("remote_apply", "remote_apply"), ("local", "local")]
)
def test_a_server_that_is_configured_anew_does_not_lower_what_a_commit_waits_for(
    url: str, given: str, wanted: str
) -> None:
    """What a session has not set itself follows the configuration of the server whenever that is reloaded."""
    asked = "SELECT setting, source FROM pg_settings WHERE name = 'synchronous_commit'"
    there = make_conninfo(url, options=f"-c synchronous_commit={given}")
    with closing(PostgresStore(there)) as store:
        assert store.transaction(lambda tx: tx._fetch(asked)) == [(wanted, "session")]  # type: ignore[attr-defined]
        link: Any = SimpleNamespace(is_pooled=True, commits=store._writers[0].commits)
        _, local = store._begin_batch(link, alone=True)[:2]
        assert wanted in local.values, "behind a pooler each transaction says it"


@pytest.mark.parametrize("count", [0, 400])
def test_hot_queries_use_their_index_and_sort_nothing(store: PostgresStore, count: int) -> None:
    """Those of claims also while the table is empty: a plan that is made then would be kept for a full one."""
    save(store, *(queued(f"q{n}", n, needs=f'["{n % 3}"]') for n in range(count)))
    save(store, *(leased(f"l{n}", daemon_id=f"d{n}", expires_h=T0 + n) for n in range(count)))
    save(store, *(Daemon(f"d{n}", deadline_h=T0 + n) for n in range(count)))
    store.transaction(lambda tx: tx._change("ANALYZE task, daemon"))  # type: ignore[attr-defined]
    asked = (
        ("SELECT needs FROM task WHERE ready = 1 AND needs > 'x' ORDER BY needs LIMIT 1", "task_by_needs"),
        ("SELECT * FROM task WHERE ready = 1 AND needs = 'x' ORDER BY order_key, id LIMIT 5", "task_by_needs"),
        ("SELECT id FROM task WHERE ready = 1 ORDER BY order_key, id LIMIT 5", "task_by_order"),
        (
            "SELECT DISTINCT waiting_for, needs FROM task WHERE waiting_for <> '' AND waiting_for = ANY('{a}')",
            "task_waiting",
        ),
        (
            "SELECT * FROM task WHERE status = 'leased' AND expires_h > 0 AND expires_h <= 5 ORDER BY expires_h",
            "task_expiring",
        ),
        ("SELECT * FROM task WHERE status = 'leased' AND daemon_id <> '' AND daemon_id = ANY('{a}')", "task_held"),
        ("SELECT * FROM daemon WHERE deadline_h > 0 AND deadline_h <= 5 ORDER BY deadline_h", "daemon_due"),
        ("SELECT * FROM task ORDER BY queued_at DESC, id DESC LIMIT 5", "task_listed"),
        ("SELECT * FROM event WHERE task_id <> '' AND task_id = 't' ORDER BY id", "event_of_task"),
    )

    def plans(tx: Any) -> list[str]:
        return [" ".join(row[0] for row in tx._fetch(f"EXPLAIN {sql}")) for sql, _ in asked]

    for (sql, index), plan in list(zip(asked, store.transaction(plans), strict=True))[: None if count else 7]:
        assert index in plan, (sql, plan)
        assert "Sort" not in plan or "DISTINCT" in sql, (sql, plan)  # what waits for a daemon is not in any order


# ---- migrations


def versions(url: str) -> Any:
    with closing(psycopg.connect(url)) as connection:
        return connection.execute("SELECT version, compatible_from FROM understudy_schema").fetchall()


def test_two_hubs_that_start_at_once_make_the_schema_once(postgres_url: str) -> None:
    with ThreadPoolExecutor() as pool:
        for store in [done.result(60) for done in [pool.submit(PostgresStore, postgres_url) for _ in range(4)]]:
            store.close()
    assert versions(postgres_url) == [(SCHEMA_VERSION, 10)]


def test_hubs_of_two_versions_go_on_side_by_side_until_the_older_is_refused(
    postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = PostgresStore(postgres_url)
    monkeypatch.setattr(postgres_schema, "files", lambda _: tmp_path)
    (tmp_path / "postgres").mkdir()

    def newer(number: int, script: str) -> PostgresStore:
        with monkeypatch.context() as later:
            (tmp_path / "postgres" / f"{number:04d}_later.sql").write_text(script, "utf-8")
            later.setattr(postgres_schema, "SCHEMA_VERSION", number)
            return PostgresStore(postgres_url)

    after, last = SCHEMA_VERSION + 1, SCHEMA_VERSION + 2
    new = newer(after, "ALTER TABLE task ADD COLUMN more BIGINT NOT NULL DEFAULT 0;")
    save(old, queued("a"))
    save(new, queued("b"))
    PostgresStore(postgres_url).close()
    assert ids(old) == ["a", "b"]
    newer(last, f"-- compatible_from: {after}\nALTER TABLE task DROP COLUMN note;").close()
    with pytest.raises(StoreVersionError, match=f"from schema {after} on"):
        PostgresStore(postgres_url)
    assert versions(postgres_url) == [(last, after)]
    old.close()
    new.close()


def test_a_step_that_fails_leaves_the_store_as_it_was(
    postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    PostgresStore(postgres_url).close()
    (tmp_path / "postgres").mkdir()
    script = "CREATE TABLE more (id BIGINT); SELECT 1 / 0;"
    (tmp_path / "postgres" / f"{SCHEMA_VERSION + 1:04d}_later.sql").write_text(script, "utf-8")
    monkeypatch.setattr(postgres_schema, "files", lambda _: tmp_path)
    monkeypatch.setattr(postgres_schema, "SCHEMA_VERSION", SCHEMA_VERSION + 1)
    with pytest.raises(StoreError, match=f"division by zero .to bring it to schema {SCHEMA_VERSION + 1}"):
        PostgresStore(postgres_url)
    assert versions(postgres_url) == [(SCHEMA_VERSION, 10)]


@pytest.fixture
def held_table(postgres_url: str) -> Iterator[psycopg.Connection[Any]]:
    """A store with a long transaction that has read its tasks, as of a backup."""
    PostgresStore(postgres_url).close()
    with closing(psycopg.connect(postgres_url)) as backup:
        backup.execute("LOCK TABLE task IN ACCESS SHARE MODE")
        yield backup


def later_step(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "postgres").mkdir()
    script = "ALTER TABLE task ADD COLUMN more BIGINT NOT NULL DEFAULT 0;"
    (folder / "postgres" / f"{SCHEMA_VERSION + 1:04d}_later.sql").write_text(script, "utf-8")
    monkeypatch.setattr(postgres_schema, "files", lambda _: folder)
    monkeypatch.setattr(postgres_schema, "SCHEMA_VERSION", SCHEMA_VERSION + 1)
    monkeypatch.setattr(postgres_schema, "TABLE_WITHIN_MS", 300)


def test_a_step_that_waits_for_a_backup_holds_up_no_hub(
    postgres_url: str, held_table: psycopg.Connection[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_schema, "PAUSE_S", 0.5)
    with ThreadPoolExecutor() as pool, closing(PostgresStore(postgres_url)) as old:
        later_step(tmp_path, monkeypatch)
        new = pool.submit(PostgresStore, postgres_url)
        waiting = "SELECT count(*) > 0 FROM pg_locks WHERE relation = 'task'::regclass AND NOT granted"
        with closing(psycopg.connect(postgres_url, autocommit=True)) as look:
            eventually(lambda: look.execute(waiting).fetchone() == (True,), what="it waits for the table")
        try:
            for n in range(3):  # behind a step that waits on, each of these failed after 8 s
                save(old, queued(f"t{n}"))
            assert ids(old) == ["t0", "t1", "t2"]
            assert not new.done()
        finally:
            held_table.rollback()
        new.result(60).close()
    assert versions(postgres_url) == [(SCHEMA_VERSION + 1, 10)]


def test_a_step_that_waits_for_too_long_says_for_what(
    postgres_url: str, held_table: psycopg.Connection[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_schema, "PAUSE_S", 0)
    monkeypatch.setattr(postgres_schema, "TRIES_MAX", 2)
    later_step(tmp_path, monkeypatch)
    with pytest.raises(StoreDownError, match="long transaction"):
        PostgresStore(postgres_url)
    assert versions(postgres_url) == [(SCHEMA_VERSION, 10)]


# ---- servers that go, and what stands in the way


def test_a_server_that_crashes_and_comes_back_is_used_again(tmp_path: Path) -> None:
    with running_server(is_durable=True) as server:
        store = PostgresStore(server.new_database())
        save(store, queued("kept"))
        assert ids(store) == ["kept"]
        server.stop("immediate")
        for act in (lambda: save(store, queued("lost")), lambda: ids(store)):
            with pytest.raises(StoreDownError):
                act()
        with pytest.raises(StoreDownError):
            PostgresStore(server.url("t1"))
        server.start()
        assert ids(store) == ["kept"]
        save(store, queued("again"))
        assert ids(store) == ["again", "kept"]
        store.close()


def test_a_server_that_only_reads_is_left_for_one_that_writes(store: PostgresStore) -> None:
    save(store, queued("a"))
    (first,) = store._writers
    with pytest.raises(StoreDownError):
        store.transaction(
            lambda tx: (
                tx._fetch("SELECT set_config('transaction_read_only', 'on', true)"),
                tx.save_many([queued("b")]),
            )
        )  # type: ignore[attr-defined]
    assert first.is_lost
    save(store, queued("c"))
    assert ids(store) == ["a", "c"]


def test_statements_that_a_pooler_forgot_are_sent_whole_from_then_on(store: PostgresStore) -> None:
    for _ in range(8):
        assert ids(store) == []
        store.transaction(lambda tx: tx.ready_ids(1))
    store._writers[0].connection.pgconn.exec_(b"DEALLOCATE ALL")
    save(store, *(queued(f"t{n}") for n in range(3)))
    assert store.transaction(lambda tx: tx.ready_ids(1)) == ["t0"]
    assert store._is_unprepared
    assert not store._writers[0].pipeline.prepares


def test_a_connection_that_cannot_be_rolled_back_is_used_no_more(store: PostgresStore) -> None:
    """One whose ROLLBACK a pooler had forgotten went back to the others, and whatever used it failed from then on."""

    def fail(tx: Any) -> None:
        tx.load_each({Task: ["a"]})
        raise ZeroDivisionError

    def forget(link: PostgresConnection) -> None:
        (name,) = [name for one, name in link.pipeline._names.items() if one.text == "ROLLBACK"]
        link.connection.pgconn.exec_(b"DEALLOCATE " + name)

    for _ in range(6):
        assert ids(store) == []
        with pytest.raises(ZeroDivisionError):
            store.transaction(fail)
    reader = store._readers.pop()
    forget(reader)
    store._readers.append(reader)
    forget(store._writers[0])
    for task_id in ("a", "b"):
        with pytest.raises(ZeroDivisionError):
            store.transaction(fail)
        save(store, queued(task_id))
        ids(store)
    assert ids(store) == ["a", "b"]


def test_behind_a_pooler_nothing_is_left_on_a_connection(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It gives each transaction another one: patience is said in each, nothing is prepared, nobody listens."""
    monkeypatch.setattr(postgres_wire, "_own_number", lambda _: -1)
    store = PostgresStore(url)
    assert store.transaction(lambda tx: setting(tx, "lock_timeout")) == "8s"
    (writer,) = store._writers
    assert writer.is_pooled
    asked = "SELECT current_setting('lock_timeout'), (SELECT count(*) FROM pg_prepared_statements)"
    for _ in range(6):
        save(store, queued("a"))
    assert writer.connection.execute(asked).fetchone() == ("0", 0)
    assert ids(store) == ["a"]
    heard: list[str] = []
    store.listen(heard.append)()
    assert heard == []
    store.close()


# ---- hints


def test_a_hint_does_not_wait_for_the_disk_and_nothing_else_on_its_connection_does_so(
    store: PostgresStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.signal("connected")
    connection = store._sender._link.connection  # type: ignore[union-attr]
    connection.execute("SET synchronous_commit = on")  # tests have a server without it
    trips: list[list[str]] = []
    run = Pipeline.run

    def seen(pipeline: Pipeline, statements: Sequence[Statement]) -> Any:
        trips.append([one.text for one in statements])
        return run(pipeline, statements)

    monkeypatch.setattr(Pipeline, "run", seen)
    store.signal("x")
    ((begin, setting, _, end),) = trips  # one trip
    assert (begin, setting, end) == ("BEGIN", "SET LOCAL synchronous_commit = off", "COMMIT")
    assert connection.execute("SHOW synchronous_commit").fetchone() == ("on",)


def test_hints_come_to_whoever_listens_also_after_a_cut(
    store: PostgresStore, url: str, postgres_server: Server
) -> None:
    other, heard = PostgresStore(url), list[str]()
    stop = other.listen(heard.append)
    eventually(lambda: heard == [""], what="it listens")
    store.signal("one")
    eventually(lambda: heard == ["", "one"], what="the first hint")
    with closing(psycopg.connect(url)) as connection:
        postgres_server.cut(connection.info.dbname)
    eventually(lambda: heard[2:] == [""], what="it listens again")
    with suppress(StoreError):
        store.signal("lost with the connection that was cut")
    store.signal("two")
    eventually(lambda: heard[-1] == "two", what="the second hint")
    stop()
    other.close()
