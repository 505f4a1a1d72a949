"""The writer: one thread that commits whatever has queued while the previous commit ran."""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from understudy.errors import UnavailableError
from understudy.hub.batch import BATCH_MAX, Committed, Engine
from understudy.hub.operation import Operation

QUEUED_MAX = 10_000
# While many ask at once, a moment more makes one batch of what would be two: a fifth less CPU a request, because the
# two threads pass the interpreter to each other less often. Whoever asks alone never waits (PostgreSQL has the same:
# commit_delay, commit_siblings).
CROWD = 8
GATHER_S = 0.0007
_Reply = Any  # an asyncio future or a thread's future


class Writer:
    """Natural batching: no timer, so an idle hub answers at once and a busy one commits many together."""

    def __init__(self, engine: Engine, on_bug: Callable[[BaseException], None]) -> None:
        self.engine = engine
        self._on_bug = on_bug
        self._queue: queue.SimpleQueue[tuple[Operation, _Reply] | None] = queue.SimpleQueue()
        self._after: list[Callable[[Committed], None]] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._run, name="writer", daemon=True)
        self.is_stopping = False
        self._is_closed = False
        self.commit_ms = 0.0
        self._last_size = 0

    def start(self, loop: asyncio.AbstractEventLoop | None) -> None:
        """Start; answers to coroutines are delivered on `loop`."""
        self._loop = loop
        self._thread.start()

    def after_commit(self, listener: Callable[[Committed], None]) -> None:
        """Call `listener` after each commit, on the loop if there is one; answers are delivered first."""
        self._after.append(listener)

    async def decide(self, operation: Operation) -> Any:
        """The operation's answer, once it is durable; raises what it was refused with."""
        reply = asyncio.get_running_loop().create_future()
        self._put(operation, reply)
        try:
            return await reply
        finally:
            del reply  # a refusal's traceback holds this frame: without the name there is no ring to collect

    def decide_blocking(self, operation: Operation, timeout_s: float = 30) -> Any:
        """The same for threads."""
        reply: Future[Any] = Future()
        self._put(operation, reply)
        return reply.result(timeout_s)

    def _put(self, operation: Operation, reply: _Reply) -> None:
        is_refused = self._is_closed or (self.is_stopping and not operation.is_last_word)
        if is_refused or self._queue.qsize() >= QUEUED_MAX:
            raise UnavailableError("The hub is stopping" if is_refused else "The hub is overloaded")
        self._queue.put((operation, reply))

    def stop(self) -> None:
        """Refuse what comes from now on, commit what is queued, end."""
        self.is_stopping = self._is_closed = True
        self._queue.put(None)
        if self._thread.is_alive():
            self._thread.join(timeout=30)

    def _run(self) -> None:
        while True:
            batch, is_last = self._next_batch()
            if batch:
                self._commit(batch)
                self._last_size = len(batch)
            if is_last:
                return

    def _next_batch(self) -> tuple[list[tuple[Operation, _Reply]], bool]:
        batch: list[tuple[Operation, _Reply]] = []
        weight = 0
        item = self._queue.get()
        if self._last_size >= CROWD:
            time.sleep(GATHER_S)
        while item is not None:
            batch.append(item)
            weight += item[0].weight
            if weight >= BATCH_MAX:
                return batch, False
            try:
                item = self._queue.get_nowait()
            except queue.Empty:
                return batch, False
        return batch, True

    def _commit(self, batch: list[tuple[Operation, _Reply]]) -> None:
        started = self.engine.clock.mono_ms()
        try:
            committed = self.engine.run([operation for operation, _ in batch])
        except Exception as bug:  # noqa: BLE001 - the writer must outlive any bug; the edge answers 500
            self._on_bug(bug)
            committed = Committed(tuple(bug for _ in batch))
        self.commit_ms = float(self.engine.clock.mono_ms() - started)
        replies = [reply for _, reply in batch]
        if self._loop is None or self._loop.is_closed():
            self._deliver(replies, committed)
            return
        try:
            self._loop.call_soon_threadsafe(self._deliver, replies, committed)
        except RuntimeError:  # the loop was closed between the look and the call
            self._deliver(replies, committed)

    def _deliver(self, replies: list[_Reply], committed: Committed) -> None:
        for reply, answer in zip(replies, committed.answers, strict=True):
            if reply.done():
                continue
            if isinstance(answer, BaseException):
                reply.set_exception(answer)
            else:
                reply.set_result(answer)
        for listener in self._after:
            listener(committed)
