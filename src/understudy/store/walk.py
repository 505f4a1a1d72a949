"""A way through all rows of a store in key order, page by page, so that no more than one page is in memory."""

from __future__ import annotations

from collections.abc import Iterator
from heapq import merge
from itertools import groupby
from operator import itemgetter
from typing import Any, TypeVar

from msgspec import Struct
from msgspec.structs import astuple

from understudy.coordinator.nouns import Evidence, Memory, Progress, Result, TaskBody
from understudy.store.base import EventFilter, Reader, StoredEvent
from understudy.store.queries import Query
from understudy.store.tables import TABLES

N = TypeVar("N", bound=Struct)
ROWS_A_PAGE = 1_000
ROWS_A_PIECE = 16  # of texts that may take a MiB each: pages are put together from such pieces
PAGE_BYTES = 4 << 20  # after which a page of them is full
LARGE = frozenset({TaskBody, Result, Progress, Evidence, Memory})
BEFORE_ALL = -1  # places in the event log begin with 1, and 0 means open in its filter
COUNT_MAX = 1 << 53
EVENTS = "event"  # their table, which is none of a noun


def pages(reader: Reader, noun: type[N], after: Any = None) -> Iterator[list[N]]:
    """All rows of a noun whose key is greater than `after`, in key order. Rows with an unreadable key are left out."""
    read, key_of = (_large_page if noun in LARGE else _page), TABLES[noun].key_of
    while page := read(reader, noun, after):
        yield page
        after = key_of(page[-1])


def _page(reader: Reader, noun: type[N], after: Any) -> list[N]:
    return reader.load_all(noun, ROWS_A_PAGE, after)


def _large_page(reader: Reader, noun: type[N], after: Any) -> list[N]:
    """As many rows as take PAGE_BYTES, and not more than a piece beyond it."""
    page: list[N] = []
    size = 0
    while size < PAGE_BYTES and len(page) < ROWS_A_PAGE:
        piece = reader.load_all(noun, ROWS_A_PIECE, after)
        if not piece:
            break
        page += piece
        size += sum(map(_size, piece))
        after = TABLES[noun].key_of(piece[-1])
    return page


def _size(row: Struct) -> int:
    return sum(len(value) for value in astuple(row) if isinstance(value, str))


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
