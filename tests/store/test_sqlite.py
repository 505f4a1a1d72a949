"""SQLite passes the conformance exercise, in a file and in memory, and keeps what is its own."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.forgetful import SYNCED
from tests.older_stores import store_of_schema
from tests.store.conformance import T0, StoreConformance, queued
from tests.store.paging import PagingExercise
from tests.store.searches import SearchExercise
from tests.store.sums import SumsExercise
from understudy.coordinator.budget import reported
from understudy.coordinator.nouns import Period, Task
from understudy.coordinator.takeover_nouns import Budget, TakeoverPolicy
from understudy.errors import StoreDownError, StoreError, StoreVersionError
from understudy.store import migrations
from understudy.store.purges import PURGES
from understudy.store.queries import FINISHED_TASKS, READY, SAMPLED, SPENT, Series
from understudy.store.sqlite import SqliteStore
from understudy.store.sqlite_alone import LoneSqliteStore
from understudy.store.sqlite_rows import SQLITE
from understudy.store.sqlite_snapshot import SqliteSnapshot
from understudy.store.statements import gathered
from understudy.store.tables import SCHEMA_VERSION


class TestFile(StoreConformance, SearchExercise, PagingExercise, SumsExercise):
    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[SqliteStore]:
        store = SqliteStore(tmp_path / "hub.db")
        yield store
        store.close()


class TestMemory(StoreConformance, SearchExercise, PagingExercise, SumsExercise):
    @pytest.fixture
    def store(self) -> Iterator[SqliteStore]:
        store = SqliteStore(None)
        yield store
        store.close()


def test_commits_are_synced_in_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SqliteStore, "pragmas", SYNCED)
    store = SqliteStore(tmp_path / "hub.db")
    pragma = lambda name: store._writer.execute(f"PRAGMA {name}").fetchone()[0]  # noqa: E731
    assert (pragma("journal_mode"), pragma("synchronous"), pragma("fullfsync")) == ("wal", 2, 1)
    assert pragma("checkpoint_fullfsync") == 1
    store.close()


def test_a_reader_cannot_write_and_sees_one_moment(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "hub.db")
    with pytest.raises(StoreError):
        store.read(lambda tx: tx.save_many((queued("x"),)))  # type: ignore[attr-defined]

    def look(tx: object) -> tuple[int, int]:
        before = tx.count(READY, limit=10)  # type: ignore[attr-defined]
        writer = threading.Thread(target=lambda: store.transaction(lambda w: w.save_many((queued("x"),))))
        writer.start()
        writer.join()
        return before, tx.count(READY, limit=10)  # type: ignore[attr-defined]

    assert store.read(look) == (0, 0)
    assert store.read(lambda tx: tx.count(READY, limit=10)) == 1
    store.close()


@pytest.mark.parametrize("kind", [SqliteStore, LoneSqliteStore, SqliteSnapshot])
def test_a_read_that_has_caught_a_failure_of_the_store_has_no_answer(kind: type[Any], tmp_path: Path) -> None:
    """Else an answer goes to its reader as "no longer kept", because the disk had failed in that moment."""

    def caught(tx: Any) -> str:
        with suppress(Exception):
            tx._fetch("SELECT broken FROM task")
        return "nothing there"

    SqliteStore(tmp_path / "hub.db").close()
    with closing(kind(tmp_path / "hub.db")) as store, pytest.raises(StoreError):
        store.read(caught)


def test_what_is_prepared_is_seen_once_it_is_committed_on_whatever_thread(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "hub.db")
    store.prepare(lambda tx: tx.save_many((queued("x"),)))
    assert store.read(lambda tx: tx.count(READY, limit=10)) == 0
    with pytest.raises(StoreDownError):
        store.prepare(lambda tx: tx.save_many((queued("y"),)))
    committer = threading.Thread(target=store.commit)
    committer.start()
    committer.join()
    assert store.read(lambda tx: tx.count(READY, limit=10)) == 1
    store.transaction(lambda tx: tx.save_many((queued("z"),)))
    assert store.read(lambda tx: tx.count(READY, limit=10)) == 2
    store.close()


def test_what_was_prepared_is_gone_if_it_cannot_be_committed(tmp_path: Path) -> None:
    failures: list[Exception] = [sqlite3.OperationalError("disk I/O error"), LookupError()]

    def fail() -> None:
        if failures:
            raise failures.pop()

    store = SqliteStore(tmp_path / "hub.db", fail)
    for expected in (LookupError, StoreDownError):
        store.prepare(lambda tx: tx.save_many((queued("x"),)))
        with pytest.raises(expected):
            store.commit()
    with pytest.raises(LookupError):
        store.prepare(lambda tx: (tx.save_many((queued("x"),)), {}["bug"]))
    store.transaction(lambda tx: tx.save_many((queued("y"),)))
    assert store.read(lambda tx: tx.ready_ids(10)) == ["y"]
    store.close()


def test_a_store_of_a_newer_version_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "hub.db"
    SqliteStore(path).close()
    with closing(sqlite3.connect(path)) as db, db:
        db.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    with pytest.raises(StoreVersionError, match="newer understudy"):
        SqliteStore(path)
    with closing(sqlite3.connect(path)) as db, db:
        assert db.execute("PRAGMA user_version").fetchone()[0] == SCHEMA_VERSION + 1


def test_a_copy_is_kept_before_a_migration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "hub.db"
    store = SqliteStore(path)
    store.transaction(lambda tx: tx.save_many((queued("kept"),)))
    store.close()
    steps: list[int] = []
    monkeypatch.setattr(migrations, "SCHEMA_VERSION", SCHEMA_VERSION + 1)
    monkeypatch.setattr(migrations, "_step", lambda _, number: steps.append(number))
    SqliteStore(path).close()
    assert steps == [SCHEMA_VERSION + 1]
    with closing(sqlite3.connect(tmp_path / f"hub.db.schema{SCHEMA_VERSION}.copy")) as copy, copy:
        assert copy.execute("SELECT id FROM task").fetchall() == [("kept",)]


@pytest.fixture
def older(tmp_path: Path) -> Path:
    """A store of the first schema with a deployment in it."""
    path = tmp_path / "hub.db"
    with store_of_schema(1, path) as db:
        db.execute("INSERT INTO deployment VALUES ('v', 1, '1', 'f', 'h')")
    return path


def version_of(path: Path) -> tuple[int, list[str]]:
    with closing(sqlite3.connect(path)) as db:
        kept = [name for (name,) in db.execute("SELECT version_id FROM deployment")]
        return db.execute("PRAGMA user_version").fetchone()[0], kept


def test_without_room_for_its_copy_nothing_is_migrated(older: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as full:
        full.setattr(migrations, "disk_usage", lambda _: SimpleNamespace(free=2 * older.stat().st_size - 1))
        with pytest.raises(StoreError, match=r"from schema 1 to \d+, .* must be free .* nothing was changed"):
            SqliteStore(older)
    assert version_of(older) == (1, ["v"])
    assert list(older.parent.glob("*.copy")) == []
    monkeypatch.setattr(migrations, "disk_usage", lambda _: SimpleNamespace(free=2 * older.stat().st_size))
    SqliteStore(older).close()
    assert version_of(older) == (SCHEMA_VERSION, ["v"])


def test_a_disk_that_fills_in_the_middle_leaves_the_store_as_it_was(
    older: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def filled(connection: sqlite3.Connection, number: int) -> None:
        connection.execute(f"PRAGMA max_page_count = {connection.execute('PRAGMA page_count').fetchone()[0]}")
        step(connection, number)

    step = migrations._step
    with monkeypatch.context() as full:
        full.setattr(migrations, "_step", filled)
        with pytest.raises(StoreError, match=r"cannot be brought to schema .*full"):
            SqliteStore(older)
    assert version_of(older) == (1, ["v"])
    SqliteStore(older).close()
    assert version_of(older) == (SCHEMA_VERSION, ["v"])


def test_half_a_copy_is_removed(older: Path) -> None:
    with closing(Interrupted(older)) as db, pytest.raises(StoreError, match="full"):
        migrations.migrate(db, older)
    assert list(older.parent.glob("*.copy*")) == []
    assert version_of(older) == (1, ["v"])


def test_a_copy_that_is_broken_off_leaves_the_one_before_whole(older: Path) -> None:
    kept = older.with_name("hub.db.schema1.copy")
    kept.write_bytes(older.read_bytes())
    with closing(Interrupted(older)) as db, pytest.raises(StoreError, match="full"):
        migrations.migrate(db, older)
    assert version_of(kept) == (1, ["v"])


def test_half_a_copy_of_a_hub_that_was_killed_is_made_anew(older: Path) -> None:
    half = older.with_name("hub.db.schema1.copy.half")
    half.write_bytes(older.read_bytes()[:5000])
    SqliteStore(older).close()
    assert not half.exists()
    assert version_of(older.with_name("hub.db.schema1.copy")) == (1, ["v"])


class Interrupted(sqlite3.Connection):
    """One whose disk is full while it is copied."""

    def backup(self, target: sqlite3.Connection, **_: object) -> None:
        target.execute("CREATE TABLE half (x)")
        raise sqlite3.OperationalError("database or disk is full")


def test_a_file_that_is_no_store_is_refused_with_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "hub.db"
    path.write_bytes(b"this is not a database, but it is long enough to look at" * 100)
    with pytest.raises(StoreError, match="Store unavailable"):
        SqliteStore(path)


def test_what_was_committed_is_there_after_a_new_start(tmp_path: Path) -> None:
    path = tmp_path / "hub.db"
    store = SqliteStore(path)
    store.transaction(lambda tx: tx.save_many((queued("a"),)))
    copy = SqliteStore(_as_after_a_crash(path, tmp_path / "crashed"))
    assert [t.id for t in copy.read(lambda tx: tx.load_all(Task, 9))] == ["a"]
    copy.close()
    store.close()


def _as_after_a_crash(path: Path, folder: Path) -> Path:
    """The files as a killed process leaves them: the log not folded in."""
    folder.mkdir()
    for part in path.parent.glob("hub.db*"):
        if not part.name.endswith("-shm"):
            (folder / part.name).write_bytes(part.read_bytes())
    return folder / path.name


def test_gaps_that_events_tell_of_become_periods(tmp_path: Path) -> None:
    path = tmp_path / "hub.db"
    fields = '{"fromAt":"2026-02-02T02:40:00.123Z","toAt":"2026-02-02T02:41:00.456Z","gapSec":60.333}'
    back = '{"fromAt":"2026-02-02T02:40:00.123Z","toAt":"2026-02-02T02:30:00.000Z"}'
    with store_of_schema(7, path) as db:
        for said in (fields, fields, back, "{}", "no json", '{"fromAt":5,"toAt":"x"}'):
            db.execute("INSERT INTO event VALUES (NULL, 1, 'warning', 'hub.gap', 'c', 'm', ?, '', '')", (said,))
    store = SqliteStore(path)
    assert store.read(lambda tx: tx.load_all(Period, 9)) == [Period("", T0 + 123, "unknown", T0 + 60_456)]
    store.close()


@pytest.mark.parametrize(
    ("series", "index"),
    [(SAMPLED, "INTEGER PRIMARY KEY"), (FINISHED_TASKS, "task_finished"), (SPENT, "reservation_by_age")],
)
def test_plots_read_no_more_than_their_time(series: Series[Any], index: str) -> None:
    store = SqliteStore(None)
    plan = store._writer.execute(f"EXPLAIN QUERY PLAN {gathered(series)}", (1, 1, 1, 1)).fetchall()
    assert f"USING {index}" in plan[0][3] or f"USING INDEX {index}" in plan[0][3], plan
    store.close()


@pytest.mark.parametrize(
    ("sql", "index"),
    [
        ("SELECT needs FROM task WHERE ready = 1 AND needs > 'x' ORDER BY needs LIMIT 1", "task_by_needs"),
        ("SELECT * FROM task WHERE ready = 1 AND needs = 'x' ORDER BY order_key, id LIMIT 5", "task_by_needs"),
        ("SELECT id FROM task WHERE ready = 1 ORDER BY order_key, id LIMIT 5", "task_by_order"),
        ("SELECT * FROM task WHERE status = 'leased' AND expires_h <= 5 ORDER BY expires_h", "task_expiring"),
        (
            "SELECT * FROM task WHERE status = 'leased' AND daemon_id IN (SELECT value FROM json_each('[]'))",
            "task_held",
        ),
        ("SELECT * FROM daemon WHERE deadline_h > 0 AND deadline_h <= 5 ORDER BY deadline_h", "daemon_due"),
        ("SELECT * FROM task ORDER BY queued_at DESC, id DESC LIMIT 5", "task_listed"),
        ("SELECT * FROM event WHERE task_id <> '' AND task_id = 't' ORDER BY id", "event_of_task"),
    ],
)
def test_hot_queries_use_their_index_and_sort_nothing(sql: str, index: str) -> None:
    store = SqliteStore(None)
    store.transaction(lambda tx: tx.save_many([queued(f"t{n}", n + T0) for n in range(50)]))
    plan = " ".join(row[3] for row in store._writer.execute(f"EXPLAIN QUERY PLAN {sql}"))
    assert index in plan
    assert "TEMP B-TREE" not in plan
    store.close()


SMALL = {"deployment_overflow", "api_key", "api_key_overflow", "session_overflow"}  # bounded tables (docs/limits.md)


@pytest.mark.parametrize("what", PURGES)
def test_no_purge_of_a_large_table_sorts_its_rows_in_memory(what: str) -> None:
    store = SqliteStore(None)
    values = {"before": 1, "limit": 1}
    asked = [f"EXPLAIN QUERY PLAN {SQLITE.sql(statement)}" for statement in PURGES[what]]
    plan = " ".join(row[3] for sql in asked for row in store._writer.execute(sql, values))
    store.close()
    assert ("TEMP B-TREE" in plan) == (what in SMALL), plan


def test_what_was_reported_of_a_budget_stays_reported(tmp_path: Path) -> None:
    path = tmp_path / "hub.db"
    with store_of_schema(14, path) as db:
        db.execute("INSERT INTO budget (kind, period, spent_micro_usd, calls, told) VALUES ('day', 'd', 9, 1, 80)")
    store = SqliteStore(path)
    (row,) = store.read(lambda tx: tx.load_all(Budget, 9))
    assert reported(row, TakeoverPolicy()) == 80
    store.close()


def test_what_a_statement_keeps_to_be_undone_is_never_in_a_file(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "hub.db")
    try:
        assert store._writer.execute("PRAGMA temp_store").fetchone() == (2,)
        store._writer.close()
        store._roll_back()  # which opens it anew
        assert store._writer.execute("PRAGMA temp_store").fetchone() == (2,)
    finally:
        store.close()
