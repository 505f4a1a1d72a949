"""The named queries of the outbox."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any, TypeVar

from msgspec import Struct

from understudy.coordinator.nouns import Notice
from understudy.store.base import Backlog, StoredEvent, Unreadable
from understudy.store.reading import NUMBER_MAX, event_of, number_of, shown

N = TypeVar("N", bound=Struct)
EVENTS_BACK_MAX = 20_000  # how far back a daemon's last words are looked for: there is no index that costs each event


class OutboxQueries:
    """Mixed into the transaction of a backend."""

    _db: Any
    unreadable: Unreadable

    def _fetch(self, query: str, values: Any = ()) -> list[Any]:
        raise NotImplementedError

    def _rows(self, noun: type[N], where: str, *values: Any) -> list[N]:
        raise NotImplementedError

    def notices_due(self, channel: str, wall: int, limit: int) -> list[Notice]:
        """The rows that are due for a channel and that no hub is sending, the longest due first."""
        where = (
            "WHERE state = 'waiting' AND target = ? AND next_at {} ? AND taken_until <= ? ORDER BY next_at, id LIMIT ?"
        )
        found = self._rows(Notice, where.format("<="), channel, wall, wall, limit)
        return found + self._rows(Notice, where.format(">"), channel, NUMBER_MAX, wall, limit - len(found))

    def next_notice_at(self, channel: str) -> int:
        """The instant at which the next notice of a channel is due; 0: none waits."""
        found = self._db.execute(
            "SELECT min(max(next_at, taken_until)) FROM (SELECT next_at, taken_until FROM notice "
            "WHERE state = 'waiting' AND target = ? ORDER BY next_at LIMIT 10)",
            (channel,),
        ).fetchone()[0]
        return number_of(found) if number_of(found) or not found else 1  # what is no instant is due now

    def oldest_notice_at(self, wall: int) -> int:
        """Since when the oldest notice that should have been sent by now is due; 0: none."""
        oldest = "SELECT min(due_at) FROM notice WHERE state = 'waiting' AND due_at <= ?"
        return number_of(self._db.execute(oldest, (wall,)).fetchone()[0])

    def backlogs(self, wall: int) -> list[Backlog]:
        """Each channel that has anything waiting or dead."""
        rows = self._fetch(
            "SELECT target, sum(state = 'waiting' AND due_at <= :wall),"
            " min(CASE WHEN state = 'waiting' AND due_at <= :wall THEN due_at END), sum(state = 'dead'),"
            " (SELECT e.last_error FROM notice e WHERE e.target = n.target AND e.last_error <> ''"
            "  AND (e.state = 'waiting' OR e.state = 'dead') ORDER BY e.created_at DESC LIMIT 1) "
            "FROM notice n WHERE state = 'waiting' OR state = 'dead' GROUP BY target ORDER BY target",
            {"wall": wall},
        )
        return [
            Backlog(shown(name), waiting or 0, number_of(at), dead or 0, shown(error or ""))
            for name, waiting, at, dead, error in rows
        ]

    def last_events_of(self, daemon_id: str, limit: int, names: Collection[str] = ()) -> list[StoredEvent]:
        """The last events of a daemon's story ("": of all), of these names if any are given, oldest first.

        What is long past is not found.
        """
        listed = json.dumps([*names])
        rows = self._fetch(
            "SELECT id, at, level, name, component, message, fields, task_id, daemon_id FROM event "
            "WHERE id > (SELECT max(id) FROM event) - ? AND (? = '' OR daemon_id = ?)"
            " AND (? = '[]' OR name IN (SELECT value FROM json_each(?))) ORDER BY id DESC LIMIT ?",
            (EVENTS_BACK_MAX, daemon_id, daemon_id, listed, listed, limit),
        )
        return [event_of(row, self.unreadable) for row in reversed(rows)]
