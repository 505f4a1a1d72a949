"""Samples: one small row a minute with what no other row of the store says, for plots."""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace

from understudy.coordinator.changes import Change
from understudy.coordinator.nouns import Now

MINUTE_MS = 60_000


class Sample(Struct, frozen=True):
    """One minute of all hubs over a store together: to save it again adds to its counts and raises its maxima."""

    at: int  # wall, the beginning of the minute
    waiting: int = 0  # tasks that waited, delayed and reserved ones included, when it was taken
    leased: int = 0
    oldest_ms: int = 0  # how long the longest waiting of the first tasks in the queue had waited
    beats: int = 0
    requests: int = 0  # to the API that reached the store
    commits: int = 0  # batches
    commit_ms: int = 0  # from the beginning of a batch to its answers, all together
    commit_max_ms: int = 0


def taken(sample: Sample, now: Now) -> Change[Sample] | None:
    """The row of this minute; None while nothing waits, runs or was asked for: an idle hub writes nothing."""
    if not (sample.waiting or sample.leased or sample.beats or sample.requests):
        return None
    return Change(replace(sample, at=now.wall - now.wall % MINUTE_MS))
