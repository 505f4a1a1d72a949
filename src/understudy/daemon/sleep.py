"""How long the machine has slept: what one clock counts and another does not."""

from __future__ import annotations

import time

from understudy.clock import Clock


class SleepMeter:
    """Compares the clock that counts sleep with Python's, which stands still meanwhile (facts/assistants f)."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._at_start_ms = self._difference_ms()

    def slept_ms(self) -> int:
        """Since this was made."""
        return max(0, self._difference_ms() - self._at_start_ms)

    def _difference_ms(self) -> int:
        return self._clock.mono_ms() - time.monotonic_ns() // 1_000_000
