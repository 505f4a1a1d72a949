"""The check of a store finds each fault alone, names rows that cannot be read, and calls a sound store sound."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from msgspec import Struct
from msgspec.structs import replace

from tests.store.conformance import T0, leased, queued
from understudy.coordinator.changes import Event
from understudy.coordinator.nouns import (
    Attempt,
    Boot,
    Daemon,
    Directive,
    Hearing,
    Incident,
    Notice,
    Period,
    Result,
    Task,
    TaskBody,
    Usage,
)
from understudy.errors import StoreError, StoreVersionError
from understudy.store import walk
from understudy.store.base import Transaction
from understudy.store.check import FAULTS_MAX, Report, check, totals
from understudy.store.look import open_to_look
from understudy.store.sqlite import SqliteStore
from understudy.store.tables import StoreCopy
from understudy.texts import catalogue

NOW = T0 + 1_000
NOTICE = Notice("n", "ops", "notice", "daemon.down", incident_id="i", daemon_id="mini", due_at=NOW, created_at=T0)


class Stopped:
    """A clock that stands."""

    def now_ms(self) -> int:
        return NOW

    def mono_ms(self) -> int:
        return NOW


def rows() -> list[Struct]:
    """One row of each kind that the check compares, and nothing wrong with any."""
    done = queued("done", status="done", ready=0, token=7, finished_at=T0 + 9, ended="done", size_bytes=10)
    held = leased("held", daemon_id="mini", hard_end_h=T0 + 99, size_bytes=20)
    kept = queued("kept", ready=0, waiting_for="mini", ended="expired", token=3)
    tasks = [queued("free"), queued("later", ready=0, available_at=T0 + 50), held, kept, done]
    return [
        *tasks,
        *(TaskBody(task.id, "{}") for task in tasks),
        Attempt("held", 2, "w", "mini", "b", T0, T0 + 1, "lost"),
        Attempt("held", 5, "w", "mini", "b", T0),
        Attempt("kept", 3, "w", "mini", "b", T0, T0 + 1, "expired"),
        Attempt("done", 7, "w", "mini", "b", T0, T0 + 9, "done"),
        Result("done", 1, token=7),
        Usage("", 4, 30),
        Daemon("mini", state="down", boot_id="b", incident_id="i", open_directives=1),
        Boot("mini", "a", T0),
        Directive("order", "mini", "drain", expires_h=T0 + 5),
        Incident("i", "mini", "down", T0, T0),
        Incident("past", "gone", "recovered", T0, T0, recovered_at=T0 + 1),
        NOTICE,
        replace(NOTICE, id="s", incident_id="stuck:mini:5"),
        replace(NOTICE, id="old", state="sent", incident_id="purged"),
        Period("mini", T0, "healthy", T0 + 5),
        Period("mini", T0 + 5, "down"),
        Period("mini", T0 + 7, "late", T0 + 2),  # before the clock was set back
    ]


@pytest.fixture
def store() -> Iterator[SqliteStore]:
    store = SqliteStore(None)
    store.transaction(lambda tx: tx.save_many(rows()))
    store.transaction(lambda tx: tx.append_events([Event(T0, "info", "a.b", "C", "m", {}, task_id="free")]))
    yield store
    store.close()


def examined(store: SqliteStore) -> Report:
    return store.read(lambda reader: check(reader, Stopped()))


def test_a_sound_store_is_called_sound_and_all_of_it_is_read(store: SqliteStore) -> None:
    report = examined(store)
    assert (report.faults, report.unreadable, report.is_sound) == ([], [], True)
    assert report.rows == store.read(totals)
    assert sum(report.rows.values()) == len(rows()) + 2  # the hearing row and the event


def saved(*rows: Struct) -> Callable[[Transaction], None]:
    return lambda tx: tx.save_many(rows)


def removed(noun: type[Struct], key: object) -> Callable[[Transaction], None]:
    return lambda tx: tx.delete_many(noun, (key,))


def retained(task: str, **values: object) -> Callable[[Transaction], None]:
    return lambda tx: tx.save_many([replace(row, **values) for row in tx.load_many(Task, (task,))])


FAULTS = {
    "copy_unfinished": (saved(StoreCopy(source="old.db", rows=7)), "old.db"),
    "task_missing": (saved(Attempt("ghost", 1, "w", "", "", T0)), "ghost"),
    "no_body": (removed(TaskBody, "free"), "free"),
    "no_result": (removed(Result, "done"), "done"),
    "early_result": (saved(Result("free", 0)), "free"),
    "token_behind": (saved(Attempt("held", 9, "w", "mini", "b", T0, T0, "lost")), "held"),
    "no_attempt": (removed(Attempt, ("kept", 3)), "kept"),
    "outcome_differs": (saved(Attempt("done", 7, "w", "", "", T0, T0 + 9, "failed")), "done"),
    "open_attempt": (saved(Attempt("held", 2, "w", "mini", "b", T0)), "held"),
    "lease_without_end": (retained("held", expires_h=T0 + 100), "held"),
    "reserved_without_reason": (
        lambda tx: (
            tx.save_many([Attempt("kept", 3, "w", "mini", "b", T0, T0 + 1, "failed")]),
            retained("kept", ended="failed")(tx),
        ),
        "kept",
    ),
    "overdue": (saved(Hearing(heard_at=NOW - 500, idle=0), queued("late", ready=0), TaskBody("late", "{}")), "late"),
    "usage_differs": (saved(Usage("", 3, 30)), ""),
    "no_incident": (saved(Incident("i", "mini", "recovered", T0, T0)), "mini"),
    "directives_differ": (removed(Directive, "order"), "mini"),
    "boot_superseded": (saved(Boot("mini", "b", T0)), "mini"),
    "incident_of_nobody": (saved(Incident("j", "mini", "late", T0, T0)), "j"),
    "notice_without_incident": (saved(replace(NOTICE, id="m", incident_id="nowhere")), "m"),
    "notice_taken": (saved(replace(NOTICE, taken_until=NOW + 600_001)), "n"),
    "two_periods": (saved(Period("mini", T0 + 9, "late")), f"mini/{T0 + 9}"),
    "no_hearing": (removed(Hearing, 1), "1"),
    "hearing_went_back": (saved(Hearing(heard_at=T0, resumed_h=T0 + 1)), "1"),
}
BY_SQL = {  # what the store itself refuses, or no seam offers
    "not_quite_finished": ("UPDATE task SET ready = 1 WHERE id = 'done'", "done"),
    "event_place": ("UPDATE sqlite_sequence SET seq = 0 WHERE name = 'event'", "1"),
    "daemons_differ": ("UPDATE daemon_count SET daemons = daemons + 1 WHERE state = 'down'", "down"),
    "unread_rows": ("INSERT INTO task_body VALUES (x'ff', '{}')", "task_body"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_each_fault_is_found_alone(store: SqliteStore, name: str) -> None:
    plant, key = FAULTS[name]
    store.transaction(plant)
    found = {(fault.name, fault.key) for fault in examined(store).faults}
    assert found - ({("usage_differs", "")} - {(name, key)}) == {(name, key)}  # a row more or less is counted too


@pytest.mark.parametrize("name", BY_SQL)
def test_what_a_store_would_refuse_is_found_too(store: SqliteStore, name: str) -> None:
    statement, key = BY_SQL[name]
    store._writer.execute("PRAGMA ignore_check_constraints = 1")
    store._writer.execute(statement)
    assert [(fault.name, fault.key) for fault in examined(store).faults] == [(name, key)]


@pytest.mark.parametrize("language", ["en", "ja"])
def test_every_fault_is_planted_here_and_has_its_sentence(language: str) -> None:
    sentences = {key.removeprefix("store.fault.") for key in catalogue(language) if key.startswith("store.fault.")}
    assert sentences == {*FAULTS, *BY_SQL}


def test_what_is_due_is_no_fault_while_no_hub_listens(store: SqliteStore) -> None:
    store.transaction(saved(Hearing(heard_at=NOW - 60_000, idle=0), queued("late", ready=0), TaskBody("late", "{}")))
    assert [fault.name for fault in examined(store).faults] == ["usage_differs"]


def test_rows_that_cannot_be_read_are_named(store: SqliteStore) -> None:
    store._writer.execute("UPDATE task SET needs = '[' WHERE id = 'free'")
    report = examined(store)
    assert [(row.noun, row.key, report.is_sound) for row in report.unreadable] == [(Task, "free", False)]


def test_faults_are_all_counted_and_not_all_kept(store: SqliteStore) -> None:
    store.transaction(saved(*(TaskBody(f"ghost{n}", "{}") for n in range(FAULTS_MAX + 5))))
    report = examined(store)
    assert (report.fault_count, len(report.faults)) == (FAULTS_MAX + 5, FAULTS_MAX)


def test_progress_reaches_the_totals_exactly(store: SqliteStore) -> None:
    seen: dict[str, int] = {}

    def progressed(table: str, rows: int) -> None:
        seen[table] = seen.get(table, 0) + rows

    report = store.read(lambda reader: check(reader, Stopped(), progressed))
    assert seen == {table: rows for table, rows in report.rows.items() if rows}


class TestFiles:
    """A look at a file that others have."""

    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        store = SqliteStore(tmp_path / "hub.db")
        store.transaction(lambda tx: tx.save_many(rows()))
        store.close()
        return tmp_path / "hub.db"

    def test_a_look_sees_one_moment_of_a_store_in_use(self, path: Path) -> None:
        hub, look = SqliteStore(path), open_to_look(str(path))

        def read(reader: object) -> tuple[int, int]:
            before = len(reader.load_all(Task, 99))  # type: ignore[attr-defined]
            hub.transaction(lambda tx: tx.save_many([queued("more")]))
            return before, len(reader.load_all(Task, 99))  # type: ignore[attr-defined]

        assert look.read(read) == (5, 5)
        assert look.read(lambda reader: len(reader.load_all(Task, 99))) == 6
        look.close()
        hub.close()

    def test_a_look_cannot_write(self, path: Path) -> None:
        look = open_to_look(str(path))
        with pytest.raises(StoreError, match="readonly"):
            look.read(lambda reader: reader.save_many([queued("x")]))  # type: ignore[attr-defined]
        look.close()

    def test_a_copy_in_a_directory_without_log_is_read(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A medium that cannot be written: SQLite can make no log there."""
        connect = sqlite3.connect

        def refuse(target: str, **how: object) -> sqlite3.Connection:
            if "immutable" not in target:
                raise sqlite3.OperationalError("unable to open database file")
            return connect(target, **how)  # type: ignore[call-overload,no-any-return]

        monkeypatch.setattr(sqlite3, "connect", refuse)
        look = open_to_look(str(path))
        assert look.read(lambda reader: len(reader.load_all(Task, 99))) == 5
        look.close()
        path.with_name("hub.db-wal").write_bytes(b"not folded in")
        with pytest.raises(StoreError):
            open_to_look(str(path))

    @pytest.mark.parametrize("version", [3, 99])
    def test_another_schema_is_refused_and_left_alone(self, path: Path, version: int) -> None:
        with closing(sqlite3.connect(path)) as db:
            db.execute(f"PRAGMA user_version = {version}")
        with pytest.raises(StoreVersionError, match=f"schema {version}"):
            open_to_look(str(path))
        with closing(sqlite3.connect(path)) as db:
            assert db.execute("PRAGMA user_version").fetchone() == (version,)

    def test_a_file_that_is_no_store_is_refused_with_a_sentence(self, tmp_path: Path) -> None:
        (tmp_path / "x.db").write_bytes(b"this is no database" * 300)
        with pytest.raises(StoreError, match="Store unavailable"):
            open_to_look(str(tmp_path / "x.db"))


def test_a_page_of_large_texts_ends_soon_after_its_bytes(store: SqliteStore) -> None:
    text = "x" * (walk.PAGE_BYTES // 20)
    store.transaction(saved(*(TaskBody(f"t{n:03}", f'{{"a":"{text}"}}') for n in range(100))))
    pages = store.read(lambda reader: [len(page) for page in walk.pages(reader, TaskBody)])
    assert sum(pages) == 100 + 5
    assert max(pages) <= 20 + walk.ROWS_A_PIECE
