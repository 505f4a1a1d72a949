"""How long to wait before trying again: exponential, bounded, with jitter so that a fleet does not march."""

from __future__ import annotations

from collections.abc import Callable


class Backoff:
    """Doubles from `first_ms` to at most `max_ms`; `jitter()` gives a number in [0, 1)."""

    def __init__(self, first_ms: int, max_ms: int, jitter: Callable[[], float]) -> None:
        self._first_ms = first_ms
        self._max_ms = max_ms
        self._jitter = jitter
        self._tries = 0

    def next_ms(self) -> int:
        """The next pause, between a half and the whole of the doubled one."""
        whole_ms = min(self._max_ms, self._first_ms << min(self._tries, 16))
        self._tries += 1
        return max(1, int(whole_ms * (0.5 + self._jitter() / 2)))

    def reset(self) -> None:
        """It worked: the next failure starts small again."""
        self._tries = 0
