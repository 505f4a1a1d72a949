"""The named queries of the outbox."""

from __future__ import annotations

from understudy.coordinator.nouns import Notice
from understudy.store.base import Backlog
from understudy.store.dialect import positional
from understudy.store.reading import NUMBER_MAX, number_of, shown
from understudy.store.session import SqlSession

_BACKLOGS, _ = positional(
    "SELECT target, sum(CASE WHEN state = 'waiting' AND due_at <= :wall THEN 1 ELSE 0 END),"
    " min(CASE WHEN state = 'waiting' AND due_at <= :wall THEN due_at END),"
    " sum(CASE WHEN state = 'dead' THEN 1 ELSE 0 END),"
    " (SELECT e.last_error FROM notice e WHERE e.target = n.target AND e.last_error <> ''"
    "  AND (e.state = 'waiting' OR e.state = 'dead') ORDER BY e.created_at DESC LIMIT 1) "
    "FROM notice n WHERE state = 'waiting' OR state = 'dead' GROUP BY target ORDER BY target"
)
# What is chosen before anything else, however much else is due; the index `notice_first` has the same words.
_FIRST = "kind IN ('notice', 'test')"
_DUE = (
    "WHERE state = 'waiting' AND target = ? AND {kinds} AND next_at {until} ? AND taken_until <= ? "
    "ORDER BY next_at, id LIMIT ?"
)
_NEXT = (
    "SELECT min(greatest(next_at, taken_until)) FROM (SELECT next_at, taken_until FROM notice "
    "WHERE state = 'waiting' AND target = ? ORDER BY next_at LIMIT 10) AS first"
)


class OutboxQueries(SqlSession):
    """Mixed into the transaction of a backend."""

    def notices_due(self, channel: str, wall: int, limit: int) -> list[Notice]:
        """The rows that are due for a channel and that no hub is sending: notices and tests first, then the rest.

        Of each the longest due come first. So no number of answers hides an alarm.
        """
        found: list[Notice] = []
        for kinds in (_FIRST, f"NOT {_FIRST}"):
            for until, at in (("<=", wall), (">", NUMBER_MAX)):  # an instant that nobody can wait for is due
                if left := limit - len(found):
                    found += self._rows(Notice, _DUE.format(kinds=kinds, until=until), channel, at, wall, left)
        return found

    def next_notice_at(self, channel: str) -> int:
        """The instant at which the next notice of a channel is due; 0: none waits."""
        found = self._fetch(self.dialect.sql(_NEXT), (channel,))[0][0]
        return number_of(found) if number_of(found) or not found else 1  # what is no instant is due now

    def oldest_notice_at(self, wall: int) -> int:
        """Since when the oldest notice that should have been sent by now is due; 0: none."""
        oldest = "SELECT min(due_at) FROM notice WHERE state = 'waiting' AND due_at <= ?"
        return number_of(self._fetch(oldest, (wall,))[0][0])

    def backlogs(self, wall: int) -> list[Backlog]:
        """Each channel that has anything waiting or dead."""
        rows = self._fetch(_BACKLOGS, (wall, wall))
        return [
            Backlog(shown(name), waiting or 0, number_of(at), dead or 0, shown(error or ""))
            for name, waiting, at, dead, error in rows
        ]
