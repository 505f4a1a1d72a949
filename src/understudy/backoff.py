"""Pauses between tries: doubled each time, bounded, spread so that a fleet does not retry in step.

Each loop names its own first and longest pause where it makes its `Backoff`.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable

DOUBLINGS_MAX = 20


def doubled_ms(first_ms: int, most_ms: int, times: int) -> int:
    """`first_ms` doubled so many times, at most `most_ms`."""
    return min(most_ms, first_ms << min(max(times, 0), DOUBLINGS_MAX))


def spread(ms: int, dice: float, low: float, high: float) -> float:
    """`ms` times `low` where the dice show 0, times `high` where they show 1."""
    return ms * (low + (high - low) * dice)


def dice_of(key: str) -> float:
    """Dice from 0 to 1 that fall the same for the same key: rules stay pure, and a rescheduled try keeps its time."""
    return zlib.crc32(key.encode()) / 0xFFFFFFFF


class Backoff:
    """Doubles from `first_ms` to at most `max_ms`; `jitter()` gives a number in [0, 1)."""

    def __init__(self, first_ms: int, max_ms: int, jitter: Callable[[], float]) -> None:
        self._first_ms = first_ms
        self._max_ms = max_ms
        self._jitter = jitter
        self._tries = 0

    def next_ms(self) -> int:
        """The next pause, between a half and the whole of the doubled one."""
        whole_ms = doubled_ms(self._first_ms, self._max_ms, self._tries)
        self._tries += 1
        return max(1, int(spread(whole_ms, self._jitter(), 0.5, 1.0)))

    def reset(self) -> None:
        """It worked: the next failure starts small again."""
        self._tries = 0
