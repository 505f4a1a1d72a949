"""The event log of several hubs, read in order: an event is passed on once none can come before it any more.

Theory of operation. Each event gets its place, a number, before its transaction is committed. So an event may become
visible before one with a lower number, and a reader who had moved on to the higher number would never see the lower
one. What follows its predecessor without a gap is settled. At a gap the reader remembers how far it sees, and which
transactions are open after that. Each number up to there was given before; so once all of these transactions have
ended, what is missing was rolled back, and everything up to there is settled.

The marks of open transactions must be asked for twice: after the read that has shown the gap, and, the next time,
before the read that is to show everything. Locks of other programs on the same server delay nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

from understudy.store.base import StoredEvent


class Settled:
    """The position of one reader. `take` is given what was read after it, and says what of that is settled."""

    def __init__(self, newest_id: int) -> None:
        """A reader of what comes after an event that it sees; what is missing before that one is waited for first."""
        self.last_id = 0  # everything up to here was passed on, or is older than this reader
        self._begins_at = newest_id
        self._closed_up_to = 0  # up to here nothing can come any more
        self._gap_up_to = newest_id  # 0: there is no gap
        self._open: frozenset[str] | None = None  # at the gap; None: to be asked for

    @property
    def is_beginning(self) -> bool:
        """True if nothing can be passed on yet."""
        return bool(self._begins_at)

    @property
    def is_at_gap(self) -> bool:
        """True if the open transactions have to be asked for before the next read, for `let_go`."""
        return bool(self._gap_up_to)

    @property
    def wants_open(self) -> bool:
        """True if the open transactions have to be asked for after this read, for `note_open`."""
        return self.is_at_gap and self._open is None

    def note_open(self, marks: frozenset[str]) -> None:
        """The transactions that are open, asked for after the read that has shown the gap."""
        self._open = marks

    def let_go(self, marks: frozenset[str]) -> None:
        """The transactions that are open before the next read: none of those at the gap, and it is a gap no more."""
        if self._open is None or self._open & marks:
            return
        self._closed_up_to, self._gap_up_to, self._open = self._gap_up_to, 0, None
        if self.is_beginning:
            self.last_id, self._begins_at = self._begins_at, 0

    def take(self, rows: Sequence[StoredEvent]) -> list[StoredEvent]:
        """Those of the events after `last_id`, in their order, that are settled; the position moves behind them."""
        settled = []
        for row in rows:
            if row.id > max(self.last_id + 1, self._closed_up_to):
                if not self.is_at_gap:
                    self._gap_up_to, self._open = rows[-1].id, None
                break
            settled.append(row)
            self.last_id = row.id
        return settled
