"""Two lines for whoever reads: short looks, and searches that may have to read everything.

A search never stands before a look: it has a thread, a line and a deadline of its own.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from understudy.clock import Clock
from understudy.errors import TooManyRequestsError, UnavailableError

T = TypeVar("T")
LOOKERS = 2
SEARCHERS = 1
LOOKS_MAX = 4_000  # waiting or under way
SEARCHES_MAX = 16
SEARCHES_A_KEY_MAX = 4
LOOK_WITHIN_MS = 10_000
SEARCH_WITHIN_MS = 5_000
WAIT_WITHIN_MS = 15_000  # in the line of searches


class Reading:
    """The threads that read; used on the event loop only. `read` is given how long it may take, in ms."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lookers = ThreadPoolExecutor(LOOKERS, thread_name_prefix="reader")
        self._searchers = ThreadPoolExecutor(SEARCHERS, thread_name_prefix="searcher")
        self._looks = 0
        self._searches: Counter[str] = Counter()

    async def look(self, read: Callable[[int], T]) -> T:
        """What a short read finds; UnavailableError when too many wait."""
        if self._looks >= LOOKS_MAX:
            raise UnavailableError("The hub is overloaded")
        self._looks += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._lookers, read, LOOK_WITHIN_MS)
        finally:
            self._looks -= 1

    async def search(self, key_id: str, read: Callable[[int], T]) -> T:
        """What a search finds; TooManyRequestsError for a key that has several under way, UnavailableError for all."""
        if self._searches[key_id] >= SEARCHES_A_KEY_MAX:
            raise TooManyRequestsError(1)
        if self._searches.total() >= SEARCHES_MAX:
            raise UnavailableError("Too many searches")
        self._searches[key_id] += 1
        until = self._clock.mono_ms() + WAIT_WITHIN_MS
        try:
            return await asyncio.get_running_loop().run_in_executor(self._searchers, self._in_time, read, until)
        finally:
            self._searches[key_id] -= 1
            if not self._searches[key_id]:
                del self._searches[key_id]

    def _in_time(self, read: Callable[[int], T], until: int) -> T:
        if self._clock.mono_ms() > until:
            raise UnavailableError("Too many searches")
        return read(SEARCH_WITHIN_MS)

    def close(self) -> None:
        """Wait for those under way; those in line are not begun."""
        for pool in (self._lookers, self._searchers):
            pool.shutdown(wait=True, cancel_futures=True)
