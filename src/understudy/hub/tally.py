"""The counts of one hub process from minute to minute, where no row of the store has them: plain integers.

The event loop adds and the alarm's thread takes, without a lock. No count is lost; a maximum may be, if it comes just
while they are taken.
"""

from __future__ import annotations

from msgspec import Struct


class Counts(Struct, frozen=True):
    """One minute of it."""

    requests: int = 0
    commits: int = 0
    commit_ms: int = 0
    commit_max_ms: int = 0


class Tally:
    """Counts since the start of the process."""

    def __init__(self) -> None:
        self.requests = 0
        self.commits = 0
        self.commit_ms = 0
        self.commit_max_ms = 0  # since the last taking
        self._before = (0, 0, 0)

    def committed(self, ms: int) -> None:
        """One more batch, which took so long."""
        self.commits += 1
        self.commit_ms += ms
        self.commit_max_ms = max(self.commit_max_ms, ms)

    def take(self) -> Counts:
        """The counts since the last time."""
        longest, self.commit_max_ms = self.commit_max_ms, 0
        now = (self.requests, self.commits, self.commit_ms)
        before, self._before = self._before, now
        requests, commits, spent_ms = (one - other for one, other in zip(now, before, strict=True))
        return Counts(requests, commits, spent_ms, longest)

    def give_back(self, counts: Counts) -> None:
        """They were taken, but could not be written: they are taken once more the next time."""
        requests, commits, spent_ms = self._before
        self._before = (requests - counts.requests, commits - counts.commits, spent_ms - counts.commit_ms)
        self.commit_max_ms = max(self.commit_max_ms, counts.commit_max_ms)
