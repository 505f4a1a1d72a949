"""The rule of searches: forms and cases of characters, bounded work, and an end at the deadline."""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path
from unicodedata import normalize

import pytest

from tests.store.conformance import queued
from understudy.coordinator.changes import Event
from understudy.coordinator.nouns import TaskBody
from understudy.errors import SlowReadError
from understudy.store import search, sqlite_search
from understudy.store.base import EventFilter, Reader, TaskFilter
from understudy.store.search import PIECE_CHARS, folded, telling_characters
from understudy.store.sqlite import SqliteStore


@pytest.mark.parametrize("before", range(PIECE_CHARS - 3, PIECE_CHARS + 2))
@pytest.mark.parametrize("composed", ["が", "é", "한", "ガ"])
def test_no_character_is_cut_in_two_where_a_piece_ends(before: int, composed: str) -> None:
    for form in {normalize("NFD", composed), "ｶﾞ" if composed == "ガ" else composed}:
        assert folded("漢" * before + form + "字") == "漢" * before + composed + "字"


def test_pieces_are_bounded_whatever_joins(monkeypatch: pytest.MonkeyPatch) -> None:
    """A text of marks alone: their order takes quadratic time, so never more than some are ordered at once."""
    lengths: list[int] = []
    monkeypatch.setattr(search, "normalize", lambda _, piece: lengths.append(len(piece)) or piece)
    folded("a" + "\u0301\u0316" * 100_000)
    assert max(lengths) <= PIECE_CHARS + 64


def test_every_character_is_told_by_one_of_those_that_it_may_come_from() -> None:
    for char in map(chr, range(0x80, sys.maxunicode + 1)):
        if not char.isprintable() or normalize("NFKD", char).casefold() == char:
            continue
        for stored in {char, normalize("NFD", char), normalize("NFKD", char), char.upper(), char.lower()}:
            assert all(set(few) & set(stored) for few in telling_characters(folded(stored))), ascii(stored)


def tasks_of(tx: Reader) -> object:
    return tx.list_tasks(TaskFilter(text="x"))


def events_of(tx: Reader) -> object:
    return tx.list_events(EventFilter(text="x"))


@pytest.mark.parametrize("read", [tasks_of, events_of])
def test_a_search_of_few_but_slow_rows_ends_at_its_deadline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read: Callable[[Reader], object]
) -> None:
    """Long before SQLite's own look at the deadline comes: that one counts its own steps."""
    store = SqliteStore(tmp_path / "hub.db")
    rows = [row for n in range(20) for row in (queued(f"t{n}", n), TaskBody(f"t{n}", '{"content":"é"}'))]
    store.transaction(lambda tx: tx.save_many(rows))
    store.transaction(lambda tx: tx.append_events([Event(n, "info", "n", "P", "é", {}) for n in range(20)]))
    now = [0.0]
    looked: list[str] = []

    def slow(*_: object) -> str:
        now[0] += 1.0
        looked.append("")
        return ""

    monkeypatch.setattr(sqlite_search, "task_text", slow)
    monkeypatch.setattr(sqlite_search, "event_text", slow)
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    with pytest.raises(SlowReadError):
        store.read(read, 5_000)
    assert len(looked) == 6
    assert store.trouble() == ""
    assert store.read(read) == []
    assert len(looked) == 26
    store.close()


def test_what_is_not_utf_8_is_found_by_the_rest_of_it(tmp_path: Path) -> None:
    """Neither rule of a search, the quick one or Python's, fails for such a row or for those beside it."""
    store = SqliteStore(tmp_path / "hub.db")
    rows = [row for name in ("odd", "good") for row in (queued(name, 1), TaskBody(name, f'{{"content":"{name} é x"}}'))]
    store.transaction(lambda tx: tx.save_many(rows))
    store.transaction(lambda tx: tx.append_events([Event(n, "info", "n", "P", "é x", {}) for n in range(2)]))
    with sqlite3.connect(tmp_path / "hub.db") as db:
        db.execute("UPDATE task_body SET spec = CAST(replace(spec, 'odd', x'ff') AS TEXT) WHERE task_id = 'odd'")
        db.execute("UPDATE event SET message = CAST(x'ff' || message AS TEXT) WHERE id = 1")
    db.close()
    for text in ("x", "é", "É X"):
        assert len(store.read(lambda tx, text=text: tx.list_tasks(TaskFilter(text=text)))) == 2
        assert len(store.read(lambda tx, text=text: tx.list_events(EventFilter(text=text)))) == 2
    store.close()
