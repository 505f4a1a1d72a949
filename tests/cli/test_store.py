"""`understudy store check`: what a person and a script get, also while a hub is using the store."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.cli.program import environ, understudy
from tests.store.test_check import rows
from understudy.cli.progress import ProgressLine
from understudy.store.sqlite import SqliteStore
from understudy.store.tables import SCHEMA_VERSION


@pytest.fixture
def path(tmp_path: Path) -> Iterator[Path]:
    """A sound store that a hub has open."""
    store = SqliteStore(tmp_path / "hub.db")
    store.transaction(lambda tx: tx.save_many(rows()))
    yield tmp_path / "hub.db"
    store.close()


def spoil(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("DELETE FROM task_body WHERE task_id = 'free'")
        db.execute("UPDATE task SET needs = '[' WHERE id = 'later'")


def test_a_sound_store_in_use_is_said_to_be_sound(path: Path) -> None:
    done = understudy("store", "check", str(path), env=environ())
    assert (done.code, done.err) == (0, "")
    assert f"{path} (schema {SCHEMA_VERSION})" in done.out
    assert "every invariant holds" in done.out


def test_faults_and_unreadable_rows_are_named_and_the_command_fails(path: Path) -> None:
    spoil(path)
    done = understudy("store", "check", str(path), env=environ())
    assert done.code == 1
    assert "Task free has no content" in done.out
    assert "Task later: cannot be read: needs." in done.out
    assert "wrong: 2" in done.out
    assert (
        "タスク free には内容がなく" in understudy("store", "check", str(path), env=environ(UNDERSTUDY_LANG="ja")).out
    )


def test_a_script_gets_all_of_it(path: Path) -> None:
    spoil(path)
    done = understudy("store", "check", "--data", str(path.parent), "--json", env=environ())
    said = json.loads(done.out)
    assert (done.code, said["ok"], said["schema"], said["faultCount"]) == (1, False, SCHEMA_VERSION, 1)
    assert said["store"] == str(path)
    assert said["rows"]["task"] == 5
    assert said["faults"] == [{"name": "no_body", "key": "free", "facts": {}, "what": said["faults"][0]["what"]}]
    assert said["unreadable"] == [{"noun": "Task", "key": "later", "why": "cannot be read: needs"}]


def test_without_a_path_it_is_the_store_of_the_settings(path: Path) -> None:
    assert understudy("store", "check", env=environ(UNDERSTUDY_STORE=str(path))).code == 0


def test_a_store_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    done = understudy("store", "check", str(tmp_path / "hub.db"), env=environ())
    assert (done.code, "there is no store at" in done.err) == (5, True)
    assert list(tmp_path.iterdir()) == []


def test_a_file_of_others_is_no_store(tmp_path: Path) -> None:
    (tmp_path / "hub.db").write_text("not a store" * 1000)
    done = understudy("store", "check", str(tmp_path / "hub.db"), env=environ())
    assert (done.code, "Store unavailable" in done.err) == (1, True)


def test_progress_says_rate_and_time_left() -> None:
    progress = ProgressLine(1_000)
    assert progress.line("task", 0.5) == "task: 0 of 1,000 rows (0 %)"
    progress.ahead("task", 250)
    assert progress.line("task", 2.0) == "task: 250 of 1,000 rows (25 %), 125 rows/s, about 6.0 s left"
    progress.ahead("task", 800)
    assert "1,050 of 1,050 rows (100 %)" in progress.line("task", 2.0)


def test_what_an_earlier_run_did_counts_for_the_rest_and_not_for_the_rate() -> None:
    progress = ProgressLine(1_000, already=600)
    progress.ahead("event", 100)
    assert progress.line("event", 10.0) == "event: 700 of 1,000 rows (70 %), 10 rows/s, about 30 s left"


class TestCopy:
    """`understudy store copy` from one file to another."""

    @pytest.fixture
    def old(self, tmp_path: Path) -> Path:
        store = SqliteStore(tmp_path / "old.db")
        store.transaction(lambda tx: tx.save_many(rows()))
        store.close()
        return tmp_path / "old.db"

    def test_everything_is_copied_compared_and_checked(self, old: Path, tmp_path: Path) -> None:
        new = tmp_path / "new.db"
        done = understudy("store", "copy", str(old), str(new), env=environ())
        assert done.code == 0, done.err
        assert f"rows were copied from {old} to {new}" in done.out
        assert "every invariant holds" in done.out
        assert f"UNDERSTUDY_STORE={new}" in done.err
        assert understudy("store", "check", str(new), env=environ()).code == 0

    def test_a_script_gets_counts_and_checksums(self, old: Path, tmp_path: Path) -> None:
        done = understudy("store", "copy", str(old), str(tmp_path / "new.db"), "--json", env=environ())
        said = json.loads(done.out)
        assert (done.code, said["ok"], said["tables"]["task"]["rows"], said["faultCount"]) == (0, True, 5, 0)
        assert len(said["tables"]["task"]["checksum"]) == 16
        assert said["rows"] == sum(found["rows"] for found in said["tables"].values())

    def test_what_was_wrong_before_is_copied_and_said(self, old: Path, tmp_path: Path) -> None:
        with closing(sqlite3.connect(old)) as db, db:
            db.execute("DELETE FROM task_body WHERE task_id = 'free'")
        done = understudy("store", "copy", str(old), str(tmp_path / "new.db"), env=environ())
        assert (done.code, "Task free has no content" in done.out) == (1, True)

    @pytest.mark.parametrize("side", ["old", "new"])
    def test_a_store_in_use_is_refused_on_either_side(self, old: Path, tmp_path: Path, side: str) -> None:
        hub = SqliteStore(tmp_path / f"{side}.db")
        done = understudy("store", "copy", str(old), str(tmp_path / "new.db"), env=environ())
        assert (done.code, f"{side}.db is in use" in done.err) == (1, True)
        hub.close()

    def test_a_store_that_is_not_there_or_the_same_is_refused(self, old: Path, tmp_path: Path) -> None:
        (tmp_path / "link.db").symlink_to(old)
        assert "the same store" in understudy("store", "copy", str(old), str(tmp_path / "link.db"), env=environ()).err
        assert understudy("store", "copy", str(tmp_path / "none.db"), str(old), env=environ()).code == 5

    def test_a_refusal_says_what_to_do_in_both_languages(self, old: Path, tmp_path: Path) -> None:
        SqliteStore(tmp_path / "new.db").close()
        command = ("store", "copy", str(old), str(old.with_name("new.db")))
        assert understudy(*command, env=environ()).code == 0
        assert "is not empty" in understudy(*command, env=environ()).err
        assert "すでに内容があるため" in understudy(*command, env=environ(UNDERSTUDY_LANG="ja")).err
