"""`doctor` reads the file of the store itself: a hub notices damage only where it looks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.store.conformance import queued
from understudy.cli.findings import NOTICE, OK, PROBLEM, Here, examine, machine
from understudy.cli.findings.service import Services
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
    assert [finding.level for finding in look((tmp_path / "hub.db",))] == [OK]


def test_damage_is_a_problem_with_its_mending(store: SqliteStore, tmp_path: Path) -> None:
    path = tmp_path / "hub.db"
    store._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    whole = path.read_bytes()
    path.write_bytes(whole[:8192] + b"\x55" * (len(whole) - 8192))
    (finding,) = look((tmp_path / "hub.db",))
    assert (finding.level, str(path) in finding.fix) == (PROBLEM, True)


def test_directory_without_a_store_is_nothing(tmp_path: Path) -> None:
    assert list(look((tmp_path / "hub.db",))) == []


def test_copy_of_a_lost_store_is_told(store: SqliteStore, tmp_path: Path) -> None:
    copy = store.rescue(5)
    notice, well = look((tmp_path / "hub.db",))
    assert (notice.level, str(copy) in notice.what, well.level) == (NOTICE, True, OK)


def test_store_too_large_for_the_time_is_not_called_damaged(store: SqliteStore, tmp_path: Path) -> None:
    assert check_file(tmp_path / "hub.db", -1) in (None, "")


def test_stores_under_other_names_are_found(tmp_path: Path) -> None:
    """By the shell's setting, a service's, and the settings file of a data directory."""
    data, unit = tmp_path / "data", SimpleNamespace(env={"UNDERSTUDY_STORE": str(tmp_path / "of the service.db")})
    data.mkdir()
    (data / "understudy.toml").write_text(f'store = "{tmp_path}/of the file.db"\n')
    here = Here({"UNDERSTUDY_DATA": str(data), "UNDERSTUDY_STORE": "of the shell.db"}, tmp_path)
    found = machine.stores(here, None, Services({"hub": (None, unit)}, ""))  # type: ignore[dict-item]
    names = ("data/hub.db", "of the file.db", "of the service.db", "of the shell.db")
    assert found == [tmp_path / name for name in names]


def test_doctor_reads_a_store_under_another_name(store: SqliteStore, tmp_path: Path) -> None:
    environ = {"UNDERSTUDY_DATA": str(tmp_path / "none"), "UNDERSTUDY_STORE": str(tmp_path / "hub.db")}
    found = [finding for finding in examine(environ, tmp_path) if finding.name == "store_file"]
    assert [(finding.level, str(tmp_path / "hub.db") in finding.what) for finding in found] == [(OK, True)]
