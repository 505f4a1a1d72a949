"""Finds claimable tasks by their needs: a few index seeks for each set, and few rows read beyond those found."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Sequence
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


class NeedsQueries(SqlSession):
    """Mixed into the transaction of a backend."""

    def load_many(self, noun: type[N], keys: Collection[Any]) -> list[N]:
        """The rows of these keys that exist."""
        raise NotImplementedError

    def claimable(self, provides: frozenset[str], limit: int) -> list[Task]:
        """Claimable tasks whose needs are covered, in the order of the queue."""
        covered = self._covered_needs(provides)
        if len(covered) == 1:
            return self._rows(Task, "WHERE ready = 1 AND needs = ? ORDER BY order_key, id LIMIT ?", *covered, limit)
        found = self.load_many(Task, self._first(covered, limit))
        return sorted(found, key=lambda task: (task.order_key, task.id))

    def _first(self, covered: list[str], limit: int) -> list[str]:
        """The ids of the first tasks of all these sets: one line a set, read in pages that grow with what is used."""
        heads = self._heads(covered) if covered else []
        heapify(heads)
        lines: dict[str, deque[Place]] = {}
        size = dict.fromkeys(covered, 1)
        found: list[str] = []
        while heads and len(found) < limit:
            order_key, task_id, needs = heappop(heads)
            found.append(task_id)
            line = lines.get(needs)
            if not line:
                size[needs] = min(2 * size[needs], limit)
                line = lines[needs] = deque(self._in_order(_NEXT, (needs, order_key, task_id, size[needs])))
            if line:
                heappush(heads, (*line.popleft(), needs))
        return found

    def _heads(self, covered: list[str]) -> list[Any]:
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
