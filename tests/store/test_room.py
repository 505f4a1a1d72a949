"""The room of a store is looked for a few times a second, whichever transaction asks for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from understudy.store import room
from understudy.store.base import Room
from understudy.store.room import ROOM_FOR_S, LastRoom
from understudy.store.sqlite import SqliteStore


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now_s = [100.0]
    monkeypatch.setattr(room.time, "monotonic", lambda: now_s[0])
    return now_s


def test_a_look_will_do_for_a_moment(clock: list[float]) -> None:
    last, rooms = LastRoom(), iter([Room(1, 9), Room(2, 8)])
    assert last.get(lambda: next(rooms)) == Room(1, 9)
    clock[0] += ROOM_FOR_S
    assert last.get(lambda: next(rooms)) == Room(1, 9)
    clock[0] += 0.01
    assert last.get(lambda: next(rooms)) == Room(2, 8)


@pytest.mark.usefixtures("clock")
def test_transactions_of_sqlite_share_it(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "hub.db")
    asked: list[str] = []
    store._writer.set_trace_callback(asked.append)
    first = store.transaction(lambda tx: tx.room())
    assert first.used_bytes > 0
    assert first.free_bytes > 0
    assert store.transaction(lambda tx: tx.room()) == store.read(lambda tx: tx.room()) == first
    assert sum("page_count" in statement for statement in asked) == 1
    store.close()
