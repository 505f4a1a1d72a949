"""Two queues for reads: short looks, and searches that may have to read everything.

A search never holds up a look: it has a thread, a line and a deadline of its own. No key holds up another: it has at
most two looks under way, which leaves a thread for the others; the rest waits in a line of its own.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

from understudy.clock import Clock
from understudy.errors import TooManyRequestsError, UnavailableError

T = TypeVar("T")
LOOKERS = 3
LOOKS_A_KEY_AT_ONCE = 2
SEARCHERS = 1
LOOKS_MAX = 4_000  # waiting or under way
LOOKS_A_KEY_MAX = 1_000
SEARCHES_MAX = 16
SEARCHES_A_KEY_MAX = 4
LOOK_WITHIN_MS = 10_000
SEARCH_WITHIN_MS = 5_000
WAIT_WITHIN_MS = 15_000  # in the line of searches


class ReaderPool:
    """The threads that read; used on the event loop only. `read` is given how long it may take, in ms."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lookers = ThreadPoolExecutor(LOOKERS, thread_name_prefix="reader")
        self._searchers = ThreadPoolExecutor(SEARCHERS, thread_name_prefix="searcher")
        self._looks: Counter[str] = Counter()
        self._under_way: Counter[str] = Counter()
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}
        self._searches: Counter[str] = Counter()

    async def look(self, key_id: str, read: Callable[[int], T]) -> T:
        """The result of a short read; TooManyRequestsError if the key has too many, UnavailableError if all have."""
        with _admitted(self._looks, key_id, LOOKS_A_KEY_MAX, LOOKS_MAX, "The hub is overloaded"):
            await self._stand_in_line(key_id)
            try:
                return await _begun(self._lookers, read, LOOK_WITHIN_MS)
            finally:
                self._next_of(key_id)

    async def _stand_in_line(self, key_id: str) -> None:
        """Until fewer than two looks of this key are under way; then it counts as one of them."""
        if self._under_way[key_id] < LOOKS_A_KEY_AT_ONCE:
            self._under_way[key_id] += 1
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(key_id, deque()).append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._next_of(key_id)
            raise

    def _next_of(self, key_id: str) -> None:
        """One of this key is done: its place goes to the first that still waits."""
        line = self._waiting.get(key_id, deque())
        while line:
            turn = line.popleft()
            if not line:
                del self._waiting[key_id]
            if not turn.done():
                turn.set_result(None)
                return
        _take_one(self._under_way, key_id)

    async def search(self, key_id: str, read: Callable[[int], T]) -> T:
        """The result of a search; TooManyRequestsError if the key has too many, UnavailableError if all have."""
        with _admitted(self._searches, key_id, SEARCHES_A_KEY_MAX, SEARCHES_MAX, "Too many searches"):
            until = self._clock.mono_ms() + WAIT_WITHIN_MS
            return await _begun(self._searchers, self._in_time, read, until)

    def _in_time(self, read: Callable[[int], T], until: int) -> T:
        if self._clock.mono_ms() > until:
            raise UnavailableError("Too many searches")
        return read(SEARCH_WITHIN_MS)

    def close(self) -> None:
        """Wait for those under way; those in line are not begun."""
        for pool in (self._lookers, self._searchers):
            pool.shutdown(wait=True, cancel_futures=True)


def _begun(pool: ThreadPoolExecutor, read: Callable[..., T], *given: Any) -> asyncio.Future[T]:
    """A read in one of these threads; UnavailableError if this machine has none to give."""
    try:
        return asyncio.get_running_loop().run_in_executor(pool, read, *given)
    except RuntimeError as error:
        raise UnavailableError("The hub has no thread left to read with") from error


@contextmanager
def _admitted(counted: Counter[str], key_id: str, key_max: int, all_max: int, words: str) -> Iterator[None]:
    """One more of this key, until the end; TooManyRequestsError or UnavailableError beyond the bounds."""
    if counted[key_id] >= key_max:
        raise TooManyRequestsError(1)
    if counted.total() >= all_max:
        raise UnavailableError(words)
    counted[key_id] += 1
    try:
        yield
    finally:
        _take_one(counted, key_id)


def _take_one(counted: Counter[str], key_id: str) -> None:
    counted[key_id] -= 1
    if not counted[key_id]:
        del counted[key_id]
