"""Finds claimable tasks by their needs: a few index seeks for each set, and few rows read beyond those found."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from functools import lru_cache
from heapq import heapify, heappop, heappush
from typing import Any

import msgspec

from understudy.coordinator.nouns import Task
from understudy.store.dialect import positional
from understudy.store.session import N, SqlSession

NEEDS_A_PAGE = 1000
CANDIDATES_MAX = 4_096  # for all claims of a batch: of many different sets of tags each gets fewer
Place = tuple[int, str]  # in the order of the queue
Head = tuple[int, str, str]  # the first place of a set of needs, with the set
Waits = tuple[str, str]  # of reserved tasks: the daemon that they wait for, and their needs

_SETS = (
    "WITH RECURSIVE n(needs) AS ("
    " SELECT (SELECT needs FROM task WHERE {which} AND needs > :after ORDER BY needs LIMIT 1)"
    " UNION ALL SELECT (SELECT needs FROM task WHERE {which} AND needs > n.needs ORDER BY needs LIMIT 1)"
    " FROM n WHERE n.needs IS NOT NULL) "
    "SELECT needs FROM n WHERE needs IS NOT NULL LIMIT :limit"
)
READY_SETS, _ = positional(_SETS.format(which="ready = 1"))
_OPEN = "status IN ('queued', 'leased') AND needs <> ''"  # as an index has it
_OPEN_SETS, _ = positional(_SETS.format(which=_OPEN))
RESERVED_SETS = "SELECT DISTINCT waiting_for, needs FROM task WHERE waiting_for <> '' AND waiting_for IN ?"
_HEADS = (
    "SELECT t.order_key, t.id, t.needs FROM each(?) s JOIN task t ON t.id ="
    " (SELECT id FROM task WHERE ready = 1 AND needs = s.value ORDER BY order_key, id LIMIT 1)"
)
_NEXT = (
    "SELECT order_key, id FROM task WHERE ready = 1 AND needs = ? AND (order_key, id) > (?, ?)"
    " ORDER BY order_key, id LIMIT ?"
)


def candidates_of_each(total: int, sets: int) -> int:
    """The number of candidates for each set of tags, for claims of so many tasks and sets."""
    return min(total, CANDIDATES_MAX // max(sets, 1))


@lru_cache(maxsize=4_096)
def tags_of(needs: str) -> frozenset[str]:
    """The tags of a set; where they cannot be read, one that nobody provides."""
    try:
        return frozenset(msgspec.json.decode(needs))
    except (ValueError, TypeError):
        return frozenset({"\0"})


def covered_by(provides: frozenset[str] | None, page: list[Any]) -> list[str]:
    """The sets of needs of these rows that `provides` covers, None: all."""
    return [needs for (needs,) in page if provides is None or provides.issuperset(tags_of(needs))]


class QueueLines:
    """The beginning of the line of each set of needs: what is read for one claim of a batch serves the others too."""

    def __init__(self, heads: Collection[Head], read_on: Callable[[str, Place, int], Collection[Place]]) -> None:
        """`read_on`: up to so many places of a set of needs after this one."""
        self._places = {needs: [(order_key, task_id)] for order_key, task_id, needs in heads}
        self._read_on = read_on
        self._ended: set[str] = set()

    def first(self, covered: Collection[str], limit: int) -> list[str]:
        """The ids of the first tasks of all these sets."""
        heads = [(*self._places[needs][0], needs, 0) for needs in covered if needs in self._places]
        heapify(heads)
        found: list[str] = []
        while heads and len(found) < limit:
            _, task_id, needs, nth = heappop(heads)
            found.append(task_id)
            place = self._place(needs, nth + 1, limit)
            if place is not None:
                heappush(heads, (*place, needs, nth + 1))
        return found

    def _place(self, needs: str, nth: int, limit: int) -> Place | None:
        """The next one that is not known, or is: in pages that grow with what is used."""
        places = self._places[needs]
        if nth == len(places) and needs not in self._ended:
            more = self._read_on(needs, places[-1], min(2 * nth, limit))
            places += more
            if not more:
                self._ended.add(needs)
        return places[nth] if nth < len(places) else None


class NeedsQueries(SqlSession):
    """Mixed into the transaction of a backend."""

    def load_many(self, noun: type[N], keys: Collection[Any]) -> list[N]:
        """The rows of these keys that exist."""
        raise NotImplementedError

    def claimable(self, provides: frozenset[str], limit: int) -> list[Task]:
        """Claimable tasks whose needs are covered, in the order of the queue."""
        return self._claimable(self._covered(provides), limit)

    def claimable_of_each(self, sets: Collection[frozenset[str]], limit: int) -> dict[frozenset[str], list[Task]]:
        """The same for each of several sets of tags: the queue is searched once for all of them."""
        if len(sets) == 1:
            return {provides: self.claimable(provides, limit) for provides in sets}
        waiting = [(needs, tags_of(needs)) for needs in self._covered(None)]
        covered = {provides: [needs for needs, tags in waiting if provides.issuperset(tags)] for provides in sets}
        several = dict.fromkeys(needs for found in covered.values() if len(found) > 1 for needs in found)
        lines = self._lines(list(several))  # a single line is read with its tasks
        return {provides: self._claimable(found, limit, lines) for provides, found in covered.items()}

    def _covered(self, provides: frozenset[str] | None) -> list[str]:
        """Every distinct set of needs in the queue that `provides` covers, None: any."""
        return self._covered_needs(provides)

    def _claimable(self, covered: Sequence[str], limit: int, lines: QueueLines | None = None) -> list[Task]:
        """The first tasks of these sets."""
        if len(covered) == 1:
            return self._rows(Task, "WHERE ready = 1 AND needs = ? ORDER BY order_key, id LIMIT ?", *covered, limit)
        found = self.load_many(Task, (lines or self._lines(covered)).first(covered, limit))
        return sorted(found, key=lambda task: (task.order_key, task.id))

    def _lines(self, sets: Collection[str]) -> QueueLines:
        return QueueLines(self._heads(sets) if sets else (), self._places_after)

    def _places_after(self, needs: str, place: Place, limit: int) -> list[Place]:
        return self._in_order(_NEXT, (needs, *place, limit))

    def _heads(self, covered: Collection[str]) -> list[Head]:
        """The first place of each of these sets, with the set."""
        return self._in_order(self.dialect.sql(_HEADS), (self.dialect.collection(covered),))

    def _in_order(self, query: str, values: Sequence[Any]) -> list[Any]:
        """Positions in the queue; an unreadable one is behind all others of its set, and left out."""
        return [
            row for row in self._fetch(query, values) if isinstance(row[0], int | float) and isinstance(row[1], str)
        ]

    def _covered_needs(self, provides: frozenset[str] | None, last: str = "") -> list[str]:
        """Every distinct set of needs in the queue, after `last`, that `provides` covers, None: any.

        One index seek a set.
        """
        covered: list[str] = []
        while True:
            page = self._fetch(READY_SETS, (last, NEEDS_A_PAGE))
            covered += covered_by(provides, page)
            if len(page) < NEEDS_A_PAGE:
                return covered
            last = page[-1][0]

    def sets_of_needs(self) -> list[str]:
        """The different needs of unfinished tasks."""
        return [needs for (needs,) in self._fetch(_OPEN_SETS, ("", NEEDS_A_PAGE))]

    def new_needs(self, needs: Collection[str], limit: int) -> tuple[set[str], int]:
        """Those that no unfinished task has, and, if there are any, how many sets these have, counted up to `limit`."""
        known = f"SELECT 1 FROM task WHERE {_OPEN} AND needs = ? LIMIT 1"  # noqa: S608 - words of our own
        new = {one for one in needs if not self._fetch(known, (one,))}
        return new, len(self._fetch(_OPEN_SETS, ("", limit))) if new else 0
