"""The queries of takeover; each is asked only while takeover is switched on."""

from __future__ import annotations

from typing import Any

from understudy.coordinator.nouns import Task
from understudy.coordinator.takeover import TRIES_MAX, Reach
from understudy.coordinator.takeover_nouns import UNTOLD_PROVIDES, DaemonGroup
from understudy.store.base import Candidates, Unreadable
from understudy.store.needs import tags_of
from understudy.store.queries import in_queue_order
from understudy.store.reading import row_of
from understudy.store.session import SqlSession

LONG_CHARS = 1_024  # of what a daemon provides
LONG_MAX = 500  # different ones that are longer and are read whole; with more of them, none of these
_IS_LONG = f"(length(provides) + length(capabilities) > {LONG_CHARS})"
_LONG_ONES = f"SELECT count(*) FROM (SELECT DISTINCT provides, capabilities FROM daemon WHERE {_IS_LONG} LIMIT ?) AS l"  # noqa: S608 - ours
_GROUPS = (
    "SELECT CASE WHEN state = 'stopped' AND reason = 'planned' THEN reason ELSE state END,"
    " {}, paused, count(*), min(id), max(since_at), max(first_seen_at),"
    " max(last_seen_at) FROM daemon WHERE {} GROUP BY 1, 2, 3, 4"
)
_IN_ORDER = " ORDER BY 1, 2, 3, 4"
_ALL_GROUPS = _GROUPS.format("provides, capabilities", "1 = 1") + _IN_ORDER
_BOUNDED_GROUPS = (
    _GROUPS.format("provides, capabilities", f"NOT {_IS_LONG}")
    + " UNION ALL "
    + _GROUPS.format(f"'{UNTOLD_PROVIDES}', '[]'", _IS_LONG)
    + _IN_ORDER
)
_FREE = " AND NOT EXISTS (SELECT 1 FROM task_takeover x WHERE x.task_id = task.id AND {})"
_OTHERS = _FREE.format(f"x.tries >= {TRIES_MAX}")
_SUSPECTS = _OTHERS.replace("NOT EXISTS", "EXISTS")
_ORDER = " ORDER BY order_key, id LIMIT ?"


class TakeoverQueries(SqlSession):
    """Mixed into the transaction of a backend."""

    def daemon_groups(self) -> list[DaemonGroup]:
        """All daemons, gathered; what cannot be read of one is noted where it is read by itself."""
        too_long = self._fetch(_LONG_ONES, (LONG_MAX + 1,))[0][0] > LONG_MAX
        rows = self._fetch(_BOUNDED_GROUPS if too_long else _ALL_GROUPS)
        found = (row_of(DaemonGroup, row, Unreadable()) for row in rows)  # daemons are noted by themselves
        return [read for read in found if read is not None]

    def sets_of_needs(self) -> list[str]:
        """The different needs of unfinished tasks."""
        raise NotImplementedError

    def _closed(self, reach: Reach) -> list[str]:
        """The needs for which takeover is shut.

        The query leaves them out, because their tasks could fill its whole limit.
        """
        return [needs for needs in self.sets_of_needs() if not reach.may_open(tags_of(needs))]

    def candidates(self, wanted: Candidates, h: int) -> list[Task]:
        """Tasks that takeover may answer at this hearing instant, in the order of the queue; suspects come last."""
        if not (wanted.sources or wanted.others):
            return []
        among = "NOT source IN ?" if wanted.others else "source IN ?"
        rest = self.dialect.sql(f" AND takeover = 'allow' AND {among}")
        values: tuple[Any, ...] = (self.dialect.collection(wanted.sources),)
        if wanted.text:
            lines = ["WHERE ready = 1 AND needs = '[]'"]
            rest += _FREE.format("x.not_before_h > ?")
        else:
            lines = ["WHERE ready = 1", "WHERE waiting_for <> ''"]
            closed = [] if wanted.reach is None else self._closed(wanted.reach)
            if closed:
                rest += self.dialect.sql(" AND NOT needs IN ?")
                values = (*values, self.dialect.collection(closed))
            rest += " AND needs <> '[]'" + _FREE.format("(x.not_before_h > ? OR x.provisional_at > 0)")
        values = (*values, h)

        def found(which: str, limit: int) -> list[Task]:
            ends = rest + which + _ORDER
            return in_queue_order(*(self._rows(Task, line + ends, *values, limit) for line in lines))[:limit]

        others = found(_OTHERS, wanted.limit)
        room = wanted.limit - len(others)
        return others + found(_SUSPECTS, room) if room else others
