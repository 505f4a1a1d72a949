"""What reads and fills a whole store: every backend gives all rows page by page, and takes events at their places."""

from __future__ import annotations

from msgspec import Struct

from tests.store.conformance import T0
from understudy.coordinator.changes import Event
from understudy.coordinator.nouns import Attempt, TaskBody
from understudy.store.base import EventFilter, Store, StoredEvent
from understudy.store.tables import TABLES


def pages(store: Store, noun: type[Struct], limit: int = 3) -> list[object]:
    """The keys of all rows, read page by page."""

    def page(after: object) -> list[object]:
        return [TABLES[noun].key_of(row) for row in store.read(lambda tx: tx.load_all(noun, limit, after))]

    found = keys = page(None)
    while keys:
        keys = page(keys[-1])
        found = found + keys
    return found


def save(store: Store, *rows: Struct) -> None:
    store.transaction(lambda tx: tx.save_many(rows))


class PagingExercise:
    """Subclasses offer the fixture `store`: an empty store."""

    def test_all_rows_of_a_noun_are_read_page_by_page_in_key_order(self, store: Store) -> None:
        names = ["a", "Z", "é", "\U0001f600", "~", "", "a b", "\uffff"]
        save(store, *(TaskBody(name, "{}") for name in names))
        save(store, *(Attempt(name, token, "w", "", "", T0) for name in names for token in (2, 10)))
        keys = sorted(names)  # by their bytes, whatever the language of the database is
        assert pages(store, TaskBody) == keys
        assert pages(store, Attempt) == [(name, token) for name in keys for token in (2, 10)]
        assert store.read(lambda tx: tx.load_all(TaskBody, 9, "\U0001f600")) == []

    def test_events_keep_their_places_and_the_next_one_comes_after_all_of_them(self, store: Store) -> None:
        event = Event(T0, "info", "name", "Part", "眠", {"n": 1}, task_id="t", daemon_id="d")
        assert store.read(lambda tx: tx.last_event_id()) == 0
        store.transaction(lambda tx: tx.place_events([StoredEvent(7, event), StoredEvent(12, event)], 0))
        assert store.read(lambda tx: tx.last_event_id()) == 12
        found = store.read(lambda tx: tx.list_events(EventFilter(after_id=-1)))
        assert found == [StoredEvent(7, event), StoredEvent(12, event)]
        store.transaction(lambda tx: tx.place_events([], 40))
        (appended,) = store.transaction(lambda tx: tx.append_events([event]))
        assert appended.id > 40
        store.transaction(lambda tx: tx.place_events([], 3))
        assert store.transaction(lambda tx: tx.append_events([event]))[0].id > appended.id
        store.transaction(lambda tx: tx.purge("event", T0 + 1, 99))
        assert store.read(lambda tx: tx.last_event_id()) > appended.id
