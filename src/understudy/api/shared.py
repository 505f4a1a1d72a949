"""Work whose outcome many want at once: it is done once, and all who ask meanwhile wait for the same."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

from understudy.clock import Clock

T = TypeVar("T")


class Shared(Generic[T]):
    """The outcome of the latest work; it is begun anew at most every `every_ms`, and after it has failed."""

    def __init__(self, clock: Clock, every_ms: int, work: Callable[[], Coroutine[Any, Any, T]]) -> None:
        self._clock = clock
        self._every_ms = every_ms
        self._work = work
        self._begun_mono = 0
        self._task: asyncio.Task[T] | None = None

    def task(self) -> asyncio.Task[T]:
        """The task that runs or has ended; others wait for it too, so nobody may cancel it."""
        now = self._clock.mono_ms()
        if self._task is None or (self._task.done() and (self._has_failed(self._task) or self._is_old(now))):
            self._begun_mono = now
            self._task = asyncio.get_running_loop().create_task(self._work())
        return self._task

    def _is_old(self, now: int) -> bool:
        return now - self._begun_mono >= self._every_ms

    @staticmethod
    def _has_failed(task: asyncio.Task[T]) -> bool:
        return task.cancelled() or task.exception() is not None
