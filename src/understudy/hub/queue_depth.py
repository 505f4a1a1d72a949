"""The length of the queue: from the sums that are kept with the tasks, and short counts."""

from __future__ import annotations

from msgspec import Struct

from understudy.coordinator.nouns import Usage
from understudy.store.base import Reader
from understudy.store.queries import DELAYED, READY, RUNNING, WAITING_FOR_ANY

COUNTED_MAX = 100_000  # tasks of each kind
KEYS_MAX = 100_000  # that have tasks here
FIRST_IN_LINE = 100  # among these is the one that has waited longest: priority moves a task by a day at most


class Depth(Struct, frozen=True):
    """The unfinished tasks: how many there are of each kind, and since when the first of the queue waits; 0: none."""

    ready: int = 0
    delayed: int = 0
    reserved: int = 0
    leased: int = 0
    oldest_at: int = 0

    @property
    def waiting(self) -> int:
        """All that are not leased."""
        return self.ready + self.delayed + self.reserved


def queue_depth(reader: Reader, limit: int = COUNTED_MAX) -> Depth:
    """The length of the queue; delayed, reserved and leased tasks are counted up to a limit.

    Those that are ready, by far the most, are the rest of what is unfinished, which is kept as a sum for each key.
    """
    first = reader.find(READY, limit=FIRST_IN_LINE)
    delayed, reserved, leased = (reader.count(query, limit=limit) for query in (DELAYED, WAITING_FOR_ANY, RUNNING))
    ready = len(first)
    if ready == FIRST_IN_LINE:
        unfinished = sum(row.open_tasks for row in reader.load_all(Usage, KEYS_MAX))
        ready = min(max(unfinished - delayed - reserved - leased, ready), limit)
    return Depth(ready, delayed, reserved, leased, min((task.queued_at for task in first), default=0))
