"""The counts of one hub process since its start, for those who measure it (docs/metrics.md).

Plain integers, added to where the thing happens and read by others now and then: a heartbeat must not feel it. Each is
added to by one thread only; a reader may see one addition and not yet the other that belongs to it.
"""

from __future__ import annotations

from bisect import bisect_left

from msgspec import Struct

from understudy.hub.batch import Committed
from understudy.log import LEVELS

OUTCOMES = ("done", "failed", "blocked", "timed_out", "expired", "released", "lost", "cancelled")
SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)  # requests in a batch
TIMES_MS = (1, 2, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000)


class Spread:
    """Values by bounds: each count is of those between two, the last of those above all of them."""

    def __init__(self, bounds: tuple[int, ...]) -> None:
        self.bounds = bounds
        self.counts = (len(bounds) + 1) * [0]
        self.total = 0

    def add(self, value: int) -> None:
        """One more value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def copy(self) -> Spread:
        """As it stands now."""
        other = Spread(self.bounds)
        other.counts, other.total = [*self.counts], self.total
        return other


class Counted(Struct, frozen=True):
    """All of it at one moment."""

    heartbeats: int
    rings: int  # looks of the alarm
    events: dict[str, int]  # that were stored, by level
    attempts: dict[str, int]  # that ended, by outcome
    failed_batches: int
    is_failing: int  # 1: the last batch could not be committed
    batch_sizes: Spread
    commits_ms: Spread  # from the beginning of a batch to its answers
    lags_ms: Spread  # how late the alarm looked


class Commits:
    """The counts of what batches came to."""

    def __init__(self) -> None:
        self.events = dict.fromkeys(LEVELS, 0)
        self.attempts = dict.fromkeys(OUTCOMES, 0)
        self.failed_batches = 0
        self.is_failing = 0

    def look_at(self, committed: Committed, *, has_failed: bool) -> None:
        """After a batch: what it brought, or that it brought nothing."""
        self.is_failing = int(has_failed)
        if has_failed:
            self.failed_batches += 1
        counts = self.events
        for stored in committed.events:
            if stored.id:  # heartbeats are counted by the alarm
                counts[stored.event.level] += 1
        for outcome in committed.ended:
            self.attempts[outcome] = self.attempts.get(outcome, 0) + 1

    def counted(self, heartbeats: int, rings: int, batch_sizes: Spread, commits_ms: Spread, lags_ms: Spread) -> Counted:
        """All of it now, with what the alarm and the writer have counted."""
        return Counted(
            heartbeats,
            rings,
            {**self.events},
            {**self.attempts},
            self.failed_batches,
            self.is_failing,
            batch_sizes.copy(),
            commits_ms.copy(),
            lags_ms.copy(),
        )
