"""A way through all rows of a store in key order, page by page, so that no more than one page is in memory."""

from __future__ import annotations

from collections.abc import Iterator
from heapq import merge
from itertools import groupby
from operator import itemgetter
from typing import Any, TypeVar

from msgspec import Struct

from understudy.coordinator.nouns import Evidence, Memory, Progress, Result, TaskBody
from understudy.store.base import EventFilter, Reader, StoredEvent
from understudy.store.queries import Query
from understudy.store.tables import TABLES

N = TypeVar("N", bound=Struct)
ROWS_A_PAGE = 1_000
ROWS_A_PAGE_LARGE = 50  # of texts that may take a MiB each
LARGE = frozenset({TaskBody, Result, Progress, Evidence, Memory})
BEFORE_ALL = -1  # places in the event log begin with 1, and 0 means open in its filter
COUNT_MAX = 1 << 53
EVENTS = "event"  # their table, which is none of a noun


def rows_a_page(noun: type[Struct]) -> int:
    """The number of rows of a noun that are read at once."""
    return ROWS_A_PAGE_LARGE if noun in LARGE else ROWS_A_PAGE


def pages(reader: Reader, noun: type[N], after: Any = None) -> Iterator[list[N]]:
    """All rows of a noun whose key is greater than `after`, in key order. Rows with an unreadable key are left out."""
    limit, key_of = rows_a_page(noun), TABLES[noun].key_of
    while page := reader.load_all(noun, limit, after):
        yield page
        after = key_of(page[-1])


def event_pages(reader: Reader, after: int = BEFORE_ALL) -> Iterator[list[StoredEvent]]:
    """All events after a place, in their order."""
    while page := reader.list_events(EventFilter(after_id=after or BEFORE_ALL, limit=ROWS_A_PAGE)):
        yield page
        after = page[-1].id


def count_of(reader: Reader, noun: type[Struct]) -> int:
    """All rows of a noun, unreadable ones included."""
    return reader.count(Query(noun), limit=COUNT_MAX)


def events_at_most(reader: Reader) -> int:
    """The number of places in the event log from its first event on: some of them may be empty."""
    first = reader.list_events(EventFilter(after_id=BEFORE_ALL, limit=1))
    return reader.last_event_id() - first[0].id + 1 if first else 0


def by_first_key(
    streams: dict[type[Struct], Iterator[list[Any]]],
) -> Iterator[tuple[str, dict[type[Struct], list[Any]]]]:
    """Rows of several nouns gathered by the first column of their keys, in its order."""
    lines = (_keyed(noun, found) for noun, found in streams.items())
    for key, group in groupby(merge(*lines, key=itemgetter(0)), key=itemgetter(0)):
        rows: dict[type[Struct], list[Any]] = {}
        for _, noun, row in group:
            rows.setdefault(noun, []).append(row)
        yield key, rows


def _keyed(noun: type[Struct], found: Iterator[list[Any]]) -> Iterator[tuple[str, type[Struct], Any]]:
    column = TABLES[noun].keys[0]
    return ((getattr(row, column), noun, row) for page in found for row in page)
