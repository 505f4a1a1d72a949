"""A store whose files are deleted, replaced or damaged acknowledges nothing until it is proven well."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.store.conformance import queued
from understudy.coordinator.nouns import Task
from understudy.errors import StoreDownError, StoreError
from understudy.store.queries import READY
from understudy.store.sqlite import SqliteStore
from understudy.store.sqlite_files import SUFFIXES, rescued

Save = Callable[[str], None]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "a folder").mkdir()
    return tmp_path / "a folder" / "hub?.db"


@pytest.fixture
def store(path: Path) -> Iterator[SqliteStore]:
    store = SqliteStore(path)
    save(store, "before")
    yield store
    store.close()


def save(store: SqliteStore, name: str) -> None:
    store.transaction(lambda tx: tx.save_many((queued(name),)))


def names(path: Path) -> set[str]:
    store = SqliteStore(path)
    try:
        return {task.id for task in store.read(lambda tx: tx.load_all(Task, 100))}
    finally:
        store.close()


def assert_refuses_all(store: SqliteStore) -> None:
    with pytest.raises(StoreDownError):
        save(store, "never")
    with pytest.raises(StoreError):
        store.read(lambda tx: tx.count(READY, limit=1))


def delete(path: Path) -> None:
    path.unlink()


def replace(path: Path) -> None:
    shutil.copy(path, path.with_name("other"))
    path.with_name("other").replace(path)


@pytest.mark.parametrize("suffix", SUFFIXES, ids=["the store", "its WAL", "its index"])
@pytest.mark.parametrize("harm", [delete, replace])
def test_nothing_is_acknowledged_when_a_file_is_gone_or_another(
    store: SqliteStore, path: Path, suffix: str, harm: Callable[[Path], None]
) -> None:
    file = path.with_name(path.name + suffix)
    harm(file)
    assert store.trouble().startswith(str(file))
    assert_refuses_all(store)
    if suffix == "" and harm is delete:
        assert not path.exists(), "an empty store in its place would be taken for the one that was lost"
    assert store.check() != "", "a whole file is no proof: it is not the one that was promised to"
    assert_refuses_all(store)


@pytest.mark.parametrize("suffix", SUFFIXES, ids=["the store", "its WAL", "its index"])
def test_a_new_file_never_passes_for_the_one_that_was_deleted(store: SqliteStore, path: Path, suffix: str) -> None:
    """Numbers of files (inodes) are given again once nobody holds the file open."""
    file = path.with_name(path.name + suffix)
    for _ in range(50):
        file.unlink()
        file.write_bytes(b"")
        assert store.trouble() == f"{file} was replaced while the hub runs"


def test_a_writer_that_must_be_opened_again_loses_no_file(store: SqliteStore, path: Path) -> None:
    for suffix in SUFFIXES[1:]:  # a second name: a file made anew could not pass for it by its number
        os.link(f"{path}{suffix}", f"{path}{suffix}.kept")

    class Broken:
        in_transaction = True
        closed = store._writer

        def execute(self, statement: str) -> None:
            raise sqlite3.OperationalError(statement)

        def close(self) -> None:
            self.closed.rollback()
            self.closed.close()

    store._writer = Broken()  # type: ignore[assignment]
    with pytest.raises(StoreDownError):
        save(store, "never")
    assert store.trouble() == "", "SQLite removes the WAL with the last connection"
    save(store, "after")
    assert store.read(lambda tx: tx.count(READY, limit=9)) == 2


def test_commit_that_lands_in_a_file_without_a_name_is_not_acknowledged(path: Path) -> None:
    is_armed = False

    def harm() -> None:
        if is_armed:
            path.unlink()

    store = SqliteStore(path, harm)
    is_armed = True
    with pytest.raises(StoreDownError, match="deleted"):
        save(store, "in between")
    store.close()


def test_store_that_is_moved_back_is_the_one_it_was(store: SqliteStore, path: Path) -> None:
    path.rename(path.with_name("away"))
    assert_refuses_all(store)
    path.with_name("away").rename(path)
    save(store, "after")
    assert store.read(lambda tx: tx.count(READY, limit=9)) == 2


def test_all_that_was_acknowledged_can_be_saved_from_lost_files(store: SqliteStore, path: Path) -> None:
    for suffix in SUFFIXES:
        path.with_name(path.name + suffix).unlink()
    copy = store.rescue(7)
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    store.close()
    with pytest.raises(StoreError, match="mv "):
        SqliteStore(path)
    assert rescued(path) == [copy]
    copy.rename(path)
    assert names(path) == {"before"}


@pytest.mark.parametrize("is_saved", [True, False], ids=["rescued", "not rescued"])
def test_a_backup_in_the_place_of_the_file_is_not_given_the_log_of_the_old_one(
    store: SqliteStore, path: Path, is_saved: bool
) -> None:
    backup = path.with_name("backup")
    with contextlib.closing(sqlite3.connect(path)) as source, contextlib.closing(sqlite3.connect(backup)) as copy:
        source.backup(copy)
    save(store, "since")
    lost = path.with_name("lost.db")
    lost.hardlink_to(path)
    backup.replace(path)
    if is_saved:
        store.rescue(7)
    store.close()
    assert names(path) == {"before"}
    (log,) = path.parent.glob("*.lost-*-wal")
    log.rename(f"{lost}-wal")
    assert names(lost) == {"before", "since"}


def test_a_log_of_somebody_else_stays_where_it_is(store: SqliteStore, path: Path) -> None:
    path.unlink()
    log = path.with_name(f"{path.name}-wal")
    log.unlink()
    log.write_text("another")
    store.close()
    assert log.read_text() == "another"


@pytest.mark.parametrize("harm", [delete, replace])
@pytest.mark.parametrize("suffix", [*SUFFIXES, "link"])
def test_a_store_behind_a_link_is_watched_where_it_is(path: Path, suffix: str, harm: Callable[[Path], None]) -> None:
    link = path.parent.parent / "link.db"
    link.symlink_to(path)
    store = SqliteStore(link)
    save(store, "before")
    harm(link if suffix == "link" else path.with_name(path.name + suffix))
    assert_refuses_all(store)
    assert store.rescue(7).parent == path.parent
    store.close()


def test_an_empty_store_is_not_begun_behind_a_link_beside_what_was_saved(path: Path) -> None:
    link = path.parent.parent / "link.db"
    link.symlink_to(path)
    store = SqliteStore(link)
    path.unlink()
    store.rescue(7)
    store.close()
    with pytest.raises(StoreError, match="mv "):
        SqliteStore(link)


def test_a_link_that_leads_to_itself_is_no_store(tmp_path: Path) -> None:
    link = tmp_path / "link.db"
    link.symlink_to(link)
    with pytest.raises(StoreError, match="unable to open"):
        SqliteStore(link)


def test_a_name_with_the_signs_of_a_pattern_is_a_name(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "[a].db")
    copy = store.rescue(7)
    store.close()
    assert rescued(tmp_path / "[a].db") == [copy]
    assert rescued(tmp_path / "?a?.db") == []


def test_rescued_copies_are_few(store: SqliteStore, path: Path) -> None:
    for nth in range(3):
        store.rescue(nth)
    with pytest.raises(OSError, match="already"):
        store.rescue(99)
    assert len(list(path.parent.glob("*rescued*"))) == 3


@pytest.mark.parametrize("harm", ["emptied", "cut", "overwritten"])
def test_damage_to_the_file_is_found_by_looking_and_mended_only_by_proof(
    store: SqliteStore, path: Path, harm: str
) -> None:
    for nth in range(50):
        save(store, f"t{nth}")
    store._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    whole = path.read_bytes()
    damaged = {"emptied": b"", "cut": whole[: len(whole) // 2], "overwritten": os.urandom(16) + whole[16:]}[harm]
    path.write_bytes(damaged)
    assert store.look() == "", "what is seen once may be a checkpoint under way"
    assert str(path) in store.look()
    assert_refuses_all(store)
    assert store.check() != ""
    assert_refuses_all(store)
    path.write_bytes(whole)
    assert store.check() == ""
    save(store, "after")
    assert store.read(lambda tx: tx.count(READY, limit=100)) == 52


@pytest.mark.parametrize("left", [0, 32, -1], ids=["emptied", "its head alone", "a byte less"])
def test_a_log_that_is_cut_in_place_takes_nothing_more(store: SqliteStore, path: Path, left: int) -> None:
    """It has the same name and number, and every commit would succeed: into a store that nobody can open again."""
    log = path.with_name(f"{path.name}-wal")
    os.truncate(log, left if left >= 0 else log.stat().st_size + left)
    assert_refuses_all(store)
    assert "-wal was emptied or cut" in store.look()


def test_damage_that_a_request_meets_refuses_all_that_follow(store: SqliteStore, path: Path) -> None:
    for nth in range(200):
        save(store, f"t{nth}")
    store._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    store._writer.execute("PRAGMA shrink_memory")
    whole = path.read_bytes()
    path.write_bytes(whole[:4096] + b"\x55" * (len(whole) - 4096))
    with pytest.raises(StoreError):
        store.read(lambda tx: tx.load_all(Task, 1000))
    assert "damaged" in store.trouble()
    assert_refuses_all(store)
    path.write_bytes(whole)
    assert store.check() == ""
    save(store, "after")


def test_ordinary_failures_are_no_damage(store: SqliteStore) -> None:
    with pytest.raises(StoreError):
        store.read(lambda tx: tx._db.execute("SELECT * FROM nothing"))  # type: ignore[attr-defined]
    assert store.trouble() == ""
    save(store, "after")


def test_checkpoint_and_backup_by_other_programs_are_no_trouble(store: SqliteStore, path: Path) -> None:
    other = sqlite3.connect(path)
    other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    backup = sqlite3.connect(path.with_name("backup"))
    other.backup(backup)
    backup.close()
    other.execute("VACUUM")
    other.close()
    assert (store.look(), store.look()) == ("", "")
    save(store, "after")


@pytest.mark.parametrize("look", [SqliteStore.look, SqliteStore.check], ids=["look", "check"])
def test_damage_that_a_reader_meets_during_a_look_is_not_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, look: Callable[[SqliteStore], str]
) -> None:
    store = SqliteStore(tmp_path / "hub.db")

    def met_meanwhile() -> str:
        error = sqlite3.DatabaseError("database disk image is malformed")
        error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT  # type: ignore[misc]
        store._heed(error)
        return ""

    monkeypatch.setattr(store._files, "header_trouble", met_meanwhile)
    assert "is damaged" in look(store)
    store.close()
