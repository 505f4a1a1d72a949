"""What every pair of stores must pass: all that one holds is in the other afterwards, whatever it is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from msgspec.structs import replace

from tests.store.conformance import T0, filled, queued
from tests.store.test_check import Stopped, rows
from understudy.coordinator.changes import Event
from understudy.coordinator.hearing import hear
from understudy.coordinator.nouns import Hearing, Memory, Task, TaskBody, Usage
from understudy.errors import StoreError
from understudy.store.base import EventFilter, Reader, Store, StoredEvent, Transaction
from understudy.store.check import check
from understudy.store.copying import NOUNS, CopyError, Copying, Sum, refuse_unfinished
from understudy.store.tables import TABLES, StoreCopy

HOSTILE = ("a\0b", "\x1b[31m", "😀🏳️‍🌈", "' OR 1=1; --", '"\\', "\u2028\ufeff", "e\u0301", "\uffff", "")
MIB = 1 << 20


class Killed(BaseException):
    """The end of a run at a place of the test's choosing."""


class Dying:
    """A target whose process dies before or after the commit of its n-th transaction."""

    def __init__(self, store: Store, lives: int, *, after: bool) -> None:
        self._store, self._lives, self._after = store, lives, after

    def __getattr__(self, name: str) -> object:
        return getattr(self._store, name)

    def transaction(self, fn, *, alone: bool = True):  # type: ignore[no-untyped-def]
        self._lives -= 1
        if self._lives == 0 and not self._after:
            raise Killed
        answer = self._store.transaction(fn, alone=alone)
        if self._lives == 0:
            raise Killed
        return answer


def event(n: int) -> Event:
    return Event(T0 + n, "info", "a.b", "C", f"眠 {n}", {"n": n, "text": HOSTILE[n % len(HOSTILE)]}, task_id=f"t{n}")


def copying(source: Store, target: Store, **options: bool) -> Copying:
    return Copying(source, target, ("old", "new"), Stopped(), **options)


def copied(source: Store, target: Store, **options: bool) -> dict[str, Sum]:
    """A whole copy."""
    copy = copying(source, target, **options)
    copy.begin()
    copy.copy(lambda *_: None)
    sums = copy.proven(lambda *_: None)
    copy.finish()
    return sums


def content(reader: Reader) -> object:
    """Everything that a store holds."""
    events = reader.list_events(EventFilter(after_id=-1, limit=10_000))
    return [reader.load_all(noun, 10_000) for noun in NOUNS.values()], events, reader.last_event_id()


def save(store: Store, *rows: object) -> None:
    store.transaction(lambda tx: tx.save_many(rows))  # type: ignore[arg-type]


@contextmanager
def refused(reason: str) -> Iterator[None]:
    with pytest.raises(CopyError) as error:
        yield
    assert error.value.reason == reason


class CopyExercise:
    """Subclasses offer the fixtures `source` and `target`: two empty stores."""

    def test_every_noun_and_event_arrives_as_it_was(self, source: Store, target: Store) -> None:
        save(source, *(filled(noun) for noun in NOUNS.values() if noun is not Hearing), *rows())
        save(source, Hearing(heard_at=T0, gaps_ms=5, resumed_h=1, idle=0, suspect_h=2))
        source.transaction(lambda tx: tx.place_events([StoredEvent(7, event(1)), StoredEvent(40, event(2))], 99))
        sums = copied(source, target)
        assert target.read(content) == source.read(content)
        assert all(found.rows for found in sums.values())
        assert target.read(lambda reader: reader.load_all(StoreCopy, 1)) == []

    def test_a_copy_of_a_sound_store_is_sound(self, source: Store, target: Store) -> None:
        save(source, *rows())
        copied(source, target)
        assert target.read(lambda reader: check(reader, Stopped())).faults == []

    def test_hostile_texts_arrive(self, source: Store, target: Store) -> None:
        keys = [f"{n}{text}" for n, text in enumerate(HOSTILE)]
        save(source, *(Memory(key, "u", "c", "user", key, "", key, T0 + n) for n, key in enumerate(keys)))
        copied(source, target)
        found = target.read(lambda reader: reader.load_all(Memory, 99))
        allowed = {*keys, *(key.replace("\0", "\ufffd") for key in keys)}
        assert len(found) == len(keys)
        assert {text for row in found for text in (row.id, row.content, row.metadata)} <= allowed

    def test_rows_of_a_mebibyte_arrive(self, source: Store, target: Store) -> None:
        texts = ["眠" * (MIB // 3), "x" * MIB, "\\u0000" * (MIB // 6)]
        save(source, *(TaskBody(f"t{n}", f'{{"content":"{text}"}}') for n, text in enumerate(texts)))
        copied(source, target)
        assert target.read(content) == source.read(content)

    def test_the_next_event_and_token_come_after_all_that_were_given(self, source: Store, target: Store) -> None:
        save(source, *rows())
        source.transaction(lambda tx: tx.append_events([event(n) for n in range(9)]))
        source.transaction(lambda tx: tx.purge("event", T0 + 99, 99))
        last = source.read(lambda reader: reader.last_event_id())
        copied(source, target)
        assert target.transaction(lambda tx: tx.append_events([event(1)]))[0].id > last
        tokens = {task.id: task.token for task in target.read(lambda reader: reader.load_all(Task, 99))}
        assert tokens == {"free": 0, "later": 0, "held": 5, "kept": 3, "done": 7}

    def test_the_time_of_the_move_is_a_gap(self, source: Store, target: Store) -> None:
        save(source, Hearing(heard_at=T0, idle=0))
        copied(source, target)
        (hearing,) = target.read(lambda reader: reader.load_all(Hearing, 9))
        assert hear(hearing, T0 + 3_600_000)[1].h == T0

    @pytest.mark.parametrize("after", [False, True], ids=["before the commit", "after the commit"])
    def test_a_run_that_dies_anywhere_goes_on_where_it_stopped(
        self, source: Store, target: Store, after: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("understudy.store.walk.ROWS_A_PAGE", 2)
        monkeypatch.setattr("understudy.store.walk.ROWS_A_PIECE", 2)
        save(source, *rows(), *(filled(noun) for noun in NOUNS.values() if noun not in (Hearing, Usage)))
        source.transaction(lambda tx: tx.append_events([event(n) for n in range(5)]))
        deaths, there = 0, 0
        while True:
            copy = Copying(source, Dying(target, 1 + deaths % 3, after=after), ("old", "new"), Stopped())  # type: ignore[arg-type]
            try:
                assert copy.begin() >= there
                there = copy.begin()
                copy.copy(lambda *_: None)
                break
            except Killed:
                deaths += 1
                assert deaths < 300, "it begins anew each time"
        assert deaths > 15
        (how_far,) = target.read(lambda reader: reader.load_all(StoreCopy, 1))
        assert how_far.rows == sum(copy.totals.values()), "no page was copied twice"
        copied(source, target)
        assert target.read(content) == source.read(content)

    def test_a_target_that_holds_anything_else_is_refused_and_left_alone(self, source: Store, target: Store) -> None:
        save(source, queued("ours"))
        save(target, queued("theirs"))
        before = target.read(content)
        with refused("not_empty"):
            copied(source, target)
        assert target.read(content) == before
        with refused("not_empty"):  # once more is no beginning either
            copied(source, target)

    def test_a_target_with_events_alone_is_not_empty(self, source: Store, target: Store) -> None:
        target.transaction(lambda tx: tx.append_events([event(1)]))
        target.transaction(lambda tx: tx.purge("event", T0 + 99, 99))
        with refused("not_empty"):
            copied(source, target)

    def test_a_copy_that_has_ended_is_not_begun_again(self, source: Store, target: Store) -> None:
        save(source, queued("ours"))
        copied(source, target)
        with refused("not_empty"):
            copied(source, target)

    def test_a_copy_does_not_go_on_after_the_source_has_changed(self, source: Store, target: Store) -> None:
        save(source, queued("ours"))
        copying(source, target).begin()
        source.transaction(lambda tx: tx.append_events([event(1)]))
        with refused("other_copy"):
            copied(source, target)

    def test_a_source_that_changes_meanwhile_is_noticed(self, source: Store, target: Store) -> None:
        save(source, queued("ours"))
        copy = copying(source, target)
        copy.begin()
        copy.copy(lambda *_: None)
        save(source, Hearing(heard_at=T0))
        with refused("differs"):
            copy.proven(lambda *_: None)
        with pytest.raises(StoreError, match="not finished"):
            refuse_unfinished(target)

    def test_two_copies_at_once_do_not_both_write(self, source: Store, target: Store) -> None:
        save(source, *rows())
        first, second = copying(source, target), copying(source, target)
        first.begin()
        second.begin()
        first.copy(lambda *_: None)
        with refused("not_alone"):
            second.copy(lambda *_: None)
        first.proven(lambda *_: None)

    def test_an_unfinished_copy_is_no_source(self, source: Store, target: Store) -> None:
        copying(target, source).begin()
        with refused("source_unfinished"):
            copied(source, target)

    def test_progress_ends_at_the_totals(self, source: Store, target: Store) -> None:
        save(source, *rows())
        source.transaction(lambda tx: tx.append_events([event(n) for n in range(5)]))
        copy = copying(source, target)
        seen: dict[str, int] = {}
        copy.begin()
        copy.copy(lambda table, rows: seen.update({table: seen.get(table, 0) + rows}))
        assert seen == {table: rows for table, rows in copy.totals.items() if rows}


def lost(store: Store, noun: type) -> None:
    """A row that goes missing in the target."""

    def drop(tx: Transaction) -> None:
        tx.delete_many(noun, [TABLES[noun].key_of(tx.load_all(noun, 1)[0])])

    store.transaction(drop)


def changed(store: Store) -> None:
    """A bit that turns in the target."""
    store.transaction(lambda tx: tx.save_many([replace(tx.load_all(Task, 1)[0], note="x")]))
