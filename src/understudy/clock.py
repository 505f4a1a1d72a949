"""The only place that reads a clock; everything else is given one."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache, partial
from typing import Protocol

MS_PER_S = 1000
AT_MIN_MS, AT_MAX_MS = -62_135_500_000_000, 253_402_200_000_000  # the years that a date can have, but for a day


class Clock(Protocol):
    """Wall time for people and rows, elapsed time for deadlines inside one process."""

    def now_ms(self) -> int:
        """Milliseconds since the epoch, UTC."""
        ...

    def mono_ms(self) -> int:
        """Milliseconds of a clock that never jumps and counts the machine's sleep."""
        ...


def _clock_of_elapsed_ns() -> Callable[[], int]:
    """A clock that goes on while the machine sleeps.

    Linux: CLOCK_BOOTTIME. Darwin: CLOCK_MONOTONIC counts sleep there, while Python's own
    `time.monotonic` (mach_absolute_time) does not (docs/measured.md, Sleep and clocks; not verified on a Mac).
    """
    if sys.platform == "linux":
        return partial(time.clock_gettime_ns, time.CLOCK_BOOTTIME)
    if sys.platform == "darwin":
        return partial(time.clock_gettime_ns, time.CLOCK_MONOTONIC)
    return time.monotonic_ns


_elapsed_ns = _clock_of_elapsed_ns()


class SystemClock:
    """The machine's clocks."""

    def now_ms(self) -> int:
        """Milliseconds since the epoch, UTC."""
        return time.time_ns() // 1_000_000

    def mono_ms(self) -> int:
        """Milliseconds that only grow, sleep included."""
        return _elapsed_ns() // 1_000_000


class ManualClock:
    """A clock that stands until it is moved: for tests and the simulator."""

    def __init__(self, now_ms: int = 1_770_000_000_000) -> None:
        self._now_ms = now_ms
        self._mono_ms = 1_000_000

    def now_ms(self) -> int:
        """Milliseconds since the epoch, as set."""
        return self._now_ms

    def mono_ms(self) -> int:
        """Milliseconds that only grow, as advanced."""
        return self._mono_ms

    def advance(self, ms: int) -> None:
        """Let `ms` pass on both clocks."""
        self._now_ms += ms
        self._mono_ms += ms

    def jump(self, ms: int) -> None:
        """Move the wall clock only, as an operator or NTP would."""
        self._now_ms += ms


def moment(at_ms: int) -> datetime:
    """The instant in UTC; beyond the years that a date can have, with room for every zone, the nearest one."""
    return datetime.fromtimestamp(min(max(at_ms, AT_MIN_MS), AT_MAX_MS) / MS_PER_S, UTC)


@lru_cache(maxsize=4096)  # all in a batch happens at one instant
def iso(at_ms: int) -> str:
    """The instant as ISO 8601 UTC with milliseconds and `Z` (docs/contract.md, section 1)."""
    if not AT_MIN_MS <= at_ms <= AT_MAX_MS:
        at_ms = min(max(at_ms, AT_MIN_MS), AT_MAX_MS)
    seconds, millis = divmod(at_ms, MS_PER_S)
    return f"{_second(seconds)}{millis:03d}Z"


@lru_cache(maxsize=4096)
def _second(seconds: int) -> str:
    """All but the milliseconds, remembered: written anew each time it was a third of a batch of claims."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}."


def parse_iso(text: str) -> int:
    """Milliseconds since the epoch of an ISO 8601 instant; ValueError if it is malformed or has no zone."""
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise ValueError(f"{text!r} has no time zone: write it with Z")
    return round(at.timestamp() * MS_PER_S)
