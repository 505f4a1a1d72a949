"""Measures how long the machine slept: one clock counts sleep, another does not."""

from __future__ import annotations

import time
from collections.abc import Callable

from understudy.clock import Clock

NOTICED_MS_MIN = 2_000  # clocks differ by less when nobody sleeps


class SleepMeter:
    """Compares the clock that counts sleep with Python's, which stands still meanwhile (docs/measured.md)."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._at_start_ms = self._difference_ms()

    def slept_ms(self) -> int:
        """Since this was made."""
        return max(0, self._difference_ms() - self._at_start_ms)

    def _difference_ms(self) -> int:
        return self._clock.mono_ms() - time.monotonic_ns() // 1_000_000


class SleepWatch:
    """Notices that the machine has slept, so that the first thing it does is a heartbeat."""

    def __init__(self, slept_ms: Callable[[], int]) -> None:
        self._slept_ms = slept_ms
        self._noticed_ms = slept_ms()

    def has_slept(self) -> bool:
        """True if it has slept since this was last true."""
        slept_ms = self._slept_ms()
        if slept_ms - self._noticed_ms < NOTICED_MS_MIN:
            return False
        self._noticed_ms = slept_ms
        return True
