"""An event loop of virtual time: as much of asyncio's as the API uses. Its turns are taken when somebody says so."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from math import ceil
from typing import Any

from understudy.simulation.world import ViolationError, World


class VirtualLoop:
    """The loop of one life of a process; what comes too late for it is dropped or put off by `in_this_life`."""

    def __init__(self, world: World, in_this_life: Callable[[Callable[[], None]], Callable[[], None]]) -> None:
        self._world = world
        self._in_this_life = in_this_life
        self._ready: deque[asyncio.Handle] = deque()
        self._tasks: dict[asyncio.Task[Any], None] = {}
        self._broken: list[dict[str, Any]] = []

    def turn(self) -> None:
        """Do everything that is ready, and what becomes ready by it; ViolationError if a task or callback breaks."""
        asyncio._set_running_loop(self._as_loop())  # noqa: SLF001 - "intended to be used by event loops", says its documentation
        try:
            while self._ready:
                handle = self._ready.popleft()
                if not handle.cancelled():
                    handle._run()  # noqa: SLF001 - this is a loop
        finally:
            asyncio._set_running_loop(None)  # noqa: SLF001
        if self._broken:
            raise ViolationError("no request ends in a defect", str(self._broken[0]))

    def close(self) -> None:
        """End every task, as far as they let themselves be ended."""
        for task in tuple(self._tasks):
            task.cancel()
        self.turn()

    def _as_loop(self) -> Any:
        """This loop, for asyncio's classes: they ask for a whole event loop and call these few methods of it."""
        return self

    # ---- what asyncio asks of a loop

    def time(self) -> float:
        """Seconds since the start of the world."""
        return self._world.now_ms / 1000

    def get_debug(self) -> bool:
        """Never."""
        return False

    def create_future(self) -> asyncio.Future[Any]:
        """A future of this loop."""
        return asyncio.Future(loop=self._as_loop())

    def create_task(self, coro: Any, *, name: str | None = None, context: Any = None) -> asyncio.Task[Any]:
        """A task that begins with the next turn."""
        task: asyncio.Task[Any] = asyncio.Task(coro, loop=self._as_loop(), name=name, context=context)
        self._tasks[task] = None
        task.add_done_callback(lambda done: self._tasks.pop(done, None))
        return task

    def call_soon(self, callback: Callable[..., Any], *args: Any, context: Any = None) -> asyncio.Handle:
        """In this turn, or the next."""
        handle = asyncio.Handle(callback, args, self._as_loop(), context)
        self._ready.append(handle)
        return handle

    def call_later(
        self, delay: float, callback: Callable[..., Any], *args: Any, context: Any = None
    ) -> asyncio.TimerHandle:
        """After so many seconds."""
        return self.call_at(self.time() + delay, callback, *args, context=context)

    def call_at(
        self, when: float, callback: Callable[..., Any], *args: Any, context: Any = None
    ) -> asyncio.TimerHandle:
        """At an instant of `time`, at the earliest with the first whole ms after it."""
        handle = asyncio.TimerHandle(when, callback, args, self._as_loop(), context)

        def ring() -> None:
            if not handle.cancelled():
                self._ready.append(handle)

        is_later = when > self.time()  # by less than a product of floats shows, too: who waits for it goes round else
        self._world.at(max(ceil(when * 1000), self._world.now_ms + is_later), self._in_this_life(ring))
        return handle

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """A cancelled timer is looked at when its time comes."""

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:
        """There are no threads: done at once."""
        done = self.create_future()
        try:
            done.set_result(func(*args))
        except Exception as error:  # noqa: BLE001 - raised where it is awaited
            done.set_exception(error)
        return done

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Somebody broke, and nobody asked for the outcome; the end of a life breaks nobody."""
        raised = context.get("exception")
        if raised is None or isinstance(raised, Exception):
            self._broken.append(context)
