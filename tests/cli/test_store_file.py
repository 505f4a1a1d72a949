"""`doctor` reads the file of the store itself: a hub notices damage only where it looks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.store.conformance import queued
from understudy.cli.findings import NOTICE, OK, PROBLEM
from understudy.cli.findings.store_file import look
from understudy.store.sqlite import SqliteStore
from understudy.store.sqlite_files import check_file


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    store = SqliteStore(tmp_path / "hub.db")
    store.transaction(lambda tx: tx.save_many([queued(f"t{nth}") for nth in range(300)]))
    yield store
    store.close()


def test_store_in_use_is_found_whole(store: SqliteStore, tmp_path: Path) -> None:
    assert [finding.level for finding in look((tmp_path,))] == [OK]


def test_damage_is_a_problem_with_its_mending(store: SqliteStore, tmp_path: Path) -> None:
    path = tmp_path / "hub.db"
    store._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    whole = path.read_bytes()
    path.write_bytes(whole[:8192] + b"\x55" * (len(whole) - 8192))
    (finding,) = look((tmp_path,))
    assert (finding.level, str(path) in finding.mend) == (PROBLEM, True)


def test_directory_without_a_store_is_nothing(tmp_path: Path) -> None:
    assert list(look((tmp_path,))) == []


def test_copy_of_a_lost_store_is_told(store: SqliteStore, tmp_path: Path) -> None:
    copy = store.rescue(5)
    notice, well = look((tmp_path,))
    assert (notice.level, str(copy) in notice.what, well.level) == (NOTICE, True, OK)


def test_store_too_large_for_the_time_is_not_called_damaged(store: SqliteStore, tmp_path: Path) -> None:
    assert check_file(tmp_path / "hub.db", -1) in (None, "")
