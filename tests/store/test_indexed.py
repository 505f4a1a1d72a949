"""SQLite writes an index whenever a statement names one of its columns: a heartbeat names none."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from tests.store.conformance import T0
from understudy.coordinator.nouns import Daemon
from understudy.store.base import Transaction
from understudy.store.sqlite import SqliteStore

MINI = Daemon("mini", state="healthy", last_seen_at=T0, last_seen_h=T0, deadline_h=T0 + 60_000)
FRAME_BYTES = 4096 + 24


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    store = SqliteStore(tmp_path / "hub.db")
    store.transaction(lambda tx: tx.save_many([MINI, *(replace(MINI, id=f"d{n}") for n in range(8))]))
    yield store
    store.close()


def known(store: SqliteStore, daemon_id: str = "mini") -> Daemon:
    return store.read(lambda tx: tx.load_many(Daemon, (daemon_id,)))[0]


def pages_of(store: SqliteStore, *ids: str, **changes: object) -> int:
    """The pages that a transaction writes which reads these daemons and changes this of them."""
    log = Path(f"{store._path}-wal")

    def change(tx: Transaction) -> None:
        tx.save_many([replace(daemon, **changes) for daemon in tx.load_many(Daemon, ids)])

    before = log.stat().st_size
    store.transaction(change)
    return (log.stat().st_size - before) // FRAME_BYTES


@pytest.mark.parametrize("ids", [("mini",), ("mini", "d1", "d2")])
def test_what_no_index_has_is_written_without_any_index(store: SqliteStore, ids: tuple[str, ...]) -> None:
    assert pages_of(store, *ids, seq=7, last_seen_h=T0 + 5, beats=b"12") == 1  # all stand on one page
    assert pages_of(store, *ids, deadline_h=T0 + 70_000) == 2
    assert all(known(store, daemon_id) == replace(
        MINI, id=daemon_id, seq=7, last_seen_h=T0 + 5, beats=b"12", deadline_h=T0 + 70_000
    ) for daemon_id in ids)  # fmt: skip


def test_each_save_of_a_transaction_is_compared_with_the_one_before(store: SqliteStore) -> None:
    def back_and_forth(tx: Transaction) -> None:
        (daemon,) = tx.load_many(Daemon, ("mini",))
        tx.save_many([replace(daemon, state="late", deadline_h=0)])
        tx.save_many([replace(daemon, seq=9)])

    store.transaction(back_and_forth)
    assert known(store) == replace(MINI, seq=9)
    assert store.read(lambda tx: tx.daemon_states()) == {"healthy": 9}


def test_one_that_was_removed_meanwhile_is_whole_again(store: SqliteStore) -> None:
    def remove_and_save(tx: Transaction) -> None:
        (daemon,) = tx.load_many(Daemon, ("mini",))
        tx.delete_many(Daemon, ["mini"])
        tx.save_many([daemon])

    store.transaction(remove_and_save)
    assert known(store) == MINI


def test_one_that_was_not_read_is_saved_with_all_its_columns(store: SqliteStore) -> None:
    store.transaction(lambda tx: tx.save_many([replace(MINI, state="down", deadline_h=T0 + 1)]))
    assert known(store) == replace(MINI, state="down", deadline_h=T0 + 1)


def test_what_could_not_be_read_is_put_right(store: SqliteStore) -> None:
    with sqlite3.connect(str(store._path)) as somebody:
        somebody.execute("UPDATE daemon SET deadline_h = 'soon' WHERE id = 'mini'")
    somebody.close()
    assert pages_of(store, "mini", seq=3) > 1
    assert store._writer.execute("SELECT deadline_h, seq FROM daemon WHERE id = 'mini'").fetchone() == (1, 3)
