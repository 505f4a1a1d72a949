"""From SQLite to SQLite: the exercise of every copy, what only this backend allows, and real kills."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.older_stores import store_of_schema
from tests.store.conformance import queued
from tests.store.copying import CopyExercise, changed, copied, copying, lost, refused, save
from tests.store.test_check import Stopped, rows
from understudy.coordinator.nouns import Attempt, TaskBody
from understudy.store.base import Store
from understudy.store.look import StoreInUseError, open_alone
from understudy.store.sqlite import SqliteStore


class TestFiles(CopyExercise):
    @pytest.fixture
    def source(self, tmp_path: Path) -> Iterator[Store]:
        store = open_alone(str(tmp_path / "old.db"), "", Stopped())
        yield store
        store.close()

    @pytest.fixture
    def target(self, tmp_path: Path) -> Iterator[Store]:
        store = open_alone(str(tmp_path / "new.db"), "", Stopped())
        yield store
        store.close()


@pytest.fixture
def source() -> Iterator[SqliteStore]:
    store = SqliteStore(None)
    save(store, *rows())
    yield store
    store.close()


@pytest.fixture
def target() -> Iterator[SqliteStore]:
    store = SqliteStore(None)
    yield store
    store.close()


@pytest.mark.parametrize(
    "spoil", [changed, lambda store: lost(store, Attempt), lambda store: save(store, queued("more"))]
)
def test_a_row_that_differs_is_found(source: Store, target: Store, spoil: Callable[[Store], None]) -> None:
    copy = copying(source, target)
    copy.begin()
    copy.copy(lambda *_: None)
    spoil(target)
    with refused("differs"):
        copy.proven(lambda *_: None)


def test_a_row_that_cannot_be_read_stops_the_copy_unless_it_is_wanted_so(source: SqliteStore, target: Store) -> None:
    source._writer.execute("UPDATE task SET needs = '[' WHERE id = 'free'")
    with refused("unreadable"):
        copied(source, target)
    assert copied(source, target, with_stand_ins=True)["task"].rows == 5


def test_a_row_whose_key_cannot_be_read_is_never_left_out_in_silence(source: SqliteStore, target: Store) -> None:
    source._writer.execute("INSERT INTO task_body VALUES (x'ff', '{}')")
    with refused("unreadable"):
        copied(source, target)
    assert copied(source, target, with_stand_ins=True)["task_body"].rows == 5
    assert len(target.read(lambda reader: reader.load_all(TaskBody, 99))) == 5


def test_a_file_that_a_hub_has_open_is_refused_at_once_and_kept_from_it_afterwards(tmp_path: Path) -> None:
    """SQLite's lock is a process's own: the hub is another process."""
    import subprocess
    import sys

    path = tmp_path / "hub.db"
    script = (
        "import sys; from pathlib import Path; from understudy.store.sqlite import SqliteStore\n"
        "store = SqliteStore(Path(sys.argv[1])); print('open', flush=True); sys.stdin.read()"
    )
    begin = lambda: subprocess.Popen(  # noqa: E731
        [sys.executable, "-c", script, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    with begin() as hub:
        assert hub.stdout is not None
        assert hub.stdout.readline() == b"open\n"
        with pytest.raises(StoreInUseError):
            open_alone(str(path), "", Stopped())
        hub.communicate(b"", timeout=60)
    store = open_alone(str(path), "", Stopped())
    opened = "sqlite3.connect(sys.argv[1], timeout=0.1)"  # short: it stays locked
    script = f"import sqlite3, sys; {opened}.execute('SELECT * FROM task')"
    with begin() as hub:
        assert b"database is locked" in hub.communicate(b"", timeout=60)[1]
    store.close()
    open_alone(str(path), "", Stopped()).close()


def test_an_older_source_is_migrated_as_a_hub_would(tmp_path: Path) -> None:
    with store_of_schema(9, tmp_path / "old.db"):
        pass
    old_store, new_store = (open_alone(str(tmp_path / name), "", Stopped()) for name in ("old.db", "new.db"))
    assert copied(old_store, new_store)["hearing"].rows == 1
    old_store.close()
    new_store.close()
