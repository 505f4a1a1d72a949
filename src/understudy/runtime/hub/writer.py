"""The writer: batches are decided on the event loop, and a thread commits them.

Theory of operation. A batch is whatever was asked while the one before was committed (`hub/batch.py` says what becomes
of it). It is decided where requests are parsed and answered, because two threads that share one interpreter cost half
of a heartbeat. Its COMMIT waits for the disk without the interpreter, so a thread makes it: meanwhile the loop
answers reads, and what writes gathers into the next batch. One batch is under way at a time: decided, committed,
answered. The loop makes the COMMIT itself for a caller who is alone and sends one request after the other, as long as
the last one was fast: there the two hand-overs cost more than the disk.

Callers who wait for answers come back with their next requests just after a batch, while others wait in line already.
Begun at once, each COMMIT would serve only half of them, by turns, and a slow disk half of what it could. So a batch
waits until as many have asked as were answered and waited, for at most half the time that the last COMMIT took.

The thread runs a batch as a whole where the loop would stand still or wait: one operation that touches much, a batch
that met a lock or a failure while it was decided, every batch of a store that cannot commit apart from deciding, and,
for a while, every batch after one that held the loop for long. That last rule is for what a weight does not tell:
many sets of needs in the queue, a disk that is slow to read from. It counts CPU, because on a busy machine a thread
that has to wait for its turn holds the interpreter just as the loop does; only very long waits are taken for the disk.

Doubt: the first batch of a slow time does hold the loop, and so does the first slow COMMIT after a fast one.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from time import thread_time
from typing import Any

from msgspec import Struct

from understudy.api.hub import Recipient
from understudy.errors import UnavailableError
from understudy.hub.batch import BATCH_MAX, Committed, Engine
from understudy.hub.counting import SIZES, TIMES_MS, Spread
from understudy.hub.operation import Operation

QUEUED_MAX = 10_000
CPU_MS_MAX, HELD_MS_MAX = 50, 500  # of one batch on the loop; beyond that the next ones are run in the thread
SLOW_FOR_MS = 10_000
FAST_COMMIT_MS = 5  # the last batch took less, from its beginning to its answers
WIDER_MAX = 4  # times a batch is wider than usual, at most
GATHER_MS_MAX = 10  # and never longer than half a COMMIT; PostgreSQL's commit_delay is advised to be the same half
STOP_WITHIN_S = 30
_Reply = Any  # a `Recipient` (an asyncio future, a connection) or a thread's future


class _Batch(Struct, eq=False):
    """A batch for the thread, with its outcome."""

    operations: list[Operation]
    replies: list[_Reply]
    weight: int
    started_ms: int
    decided_ms: int = 0  # when only its COMMIT was left to do; 0: the thread runs all of it
    prepared: Committed | None = None  # None: the thread runs all of it
    committed: Committed | None = None  # by the thread as a whole
    failure: Exception | None = None


class Writer:
    """Natural batching: an idle hub answers at once, a busy one commits many together.

    The only timer ends the wait for callers who were just answered.
    """

    def __init__(self, engine: Engine, on_bug: Callable[[BaseException], None]) -> None:
        self.engine = engine
        self._on_bug = on_bug
        self._asked: deque[tuple[Operation, _Reply]] = deque()
        self._batches: queue.SimpleQueue[_Batch | None] = queue.SimpleQueue()
        self._after: list[Callable[[Committed], None]] = []
        self._loop: asyncio.AbstractEventLoop
        self._thread = threading.Thread(target=self._run, name="writer", daemon=True)
        self._is_busy = False  # a batch is under way, or about to be
        self._idle: asyncio.Future[None] | None = None  # what a stop waits for
        self._slow_until_ms = 0
        self._weight_max = BATCH_MAX  # of the next batch
        self._last_size = 1
        self._expected = 1  # so many will have asked when all who were answered are back
        self._expected_until_ms = 0
        self._gathering: asyncio.TimerHandle | None = None  # the end of the wait for them
        self.is_stopping = False
        self._is_closed = False
        self.commit_ms = 0.0
        self.sizes = Spread(SIZES)
        self.commits_ms = Spread(TIMES_MS)
        self._last_ms = FAST_COMMIT_MS  # of the last batch; the first is not known to be fast

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Start; batches are decided and answers delivered on `loop`."""
        self._loop = loop
        self._thread.start()

    def after_commit(self, listener: Callable[[Committed], None]) -> None:
        """Call `listener` on the loop after each commit; answers are delivered first."""
        self._after.append(listener)

    def ask(self, operation: Operation) -> asyncio.Future[Any]:
        """The operation's answer, once it is durable, or what it was refused with; on the loop only."""
        reply: asyncio.Future[Any] = self._loop.create_future()
        self._ask(operation, reply)
        return reply

    def ask_for(self, operation: Operation, recipient: Recipient) -> None:
        """The same for one who is called back on the loop, before those who listen to commits."""
        self._ask(operation, recipient)

    async def decide(self, operation: Operation) -> Any:
        """The same as a coroutine."""
        return await self.ask(operation)

    def decide_blocking(self, operation: Operation, timeout_s: float = 30) -> Any:
        """The same for every thread but the loop's; UnavailableError if the outcome is not known in time.

        What has not begun then is not done any more, unless it is a last word: nobody would act on it.
        """
        reply: Future[Any] = Future()
        try:
            self._loop.call_soon_threadsafe(self._ask_for_thread, operation, reply)
        except RuntimeError as error:  # the loop is closed
            raise UnavailableError("The hub is stopping") from error
        try:
            return reply.result(timeout_s)
        except TimeoutError as error:
            if reply.done():
                raise
            if not operation.is_last_word:
                reply.cancel()  # in vain once it has begun
            raise UnavailableError(f"The store has not answered for {timeout_s:g} s") from error

    def _ask_for_thread(self, operation: Operation, reply: Future[Any]) -> None:
        if reply.cancelled():
            return
        try:
            self._ask(operation, reply)
        except UnavailableError as refusal:
            reply.set_exception(refusal)

    def _ask(self, operation: Operation, reply: _Reply) -> None:
        is_refused = self._is_closed or (self.is_stopping and not operation.is_last_word)
        if is_refused or len(self._asked) >= QUEUED_MAX:
            raise UnavailableError("The hub is stopping" if is_refused else "The hub is overloaded")
        self._asked.append((operation, reply))
        if not self._is_busy:
            self._is_busy = True
            self._loop.call_soon(self._gather, 0)
        elif len(self._asked) >= self._expected:
            self._end_gathering()

    async def stop(self) -> None:
        """Refuse what comes from now on, commit what is queued, end; called on the loop."""
        self.is_stopping = self._is_closed = True
        if self._is_busy:
            self._idle = self._loop.create_future()
            await asyncio.wait((self._idle,), timeout=STOP_WITHIN_S)
        self._batches.put(None)
        if self._thread.is_alive():
            await self._loop.run_in_executor(None, self._thread.join, STOP_WITHIN_S)

    # ---- on the loop

    def _gather(self, seen: int) -> None:
        """Begin once a turn of the loop has brought nothing new: those who come together share a COMMIT."""
        asked = len(self._asked)
        is_alone = asked == self._last_size == 1
        if seen < asked < BATCH_MAX and not is_alone:
            self._loop.call_soon(self._gather, asked)
        elif asked >= self._expected or (wait_ms := self._expected_until_ms - self.engine.clock.mono_ms()) <= 0:
            self._begin()
        else:
            self._gathering = self._loop.call_later(wait_ms / 1000, self._gather_no_more)

    def _gather_no_more(self) -> None:
        """The others take too long, or ask nothing more."""
        self._expected = 0
        self._end_gathering()

    def _end_gathering(self) -> None:
        if self._gathering is not None:
            self._gathering.cancel()
            self._gathering = None
            self._loop.call_soon(self._gather, 0)

    def _begin(self) -> None:
        was_alone = self._last_size == 1
        batch = self._next_batch()
        if not batch.operations:
            self._go_on()
            return
        if batch.weight <= self._weight_max and batch.started_ms >= self._slow_until_ms:
            began_s = thread_time()
            batch.prepared = self.engine.prepare(batch.operations)
            batch.decided_ms = self.engine.clock.mono_ms()
            self._note_held(batch.decided_ms, batch.started_ms, began_s)
            if batch.prepared is not None and was_alone and self._is_alone(batch):
                self._commit(batch)
                self._finish(batch)
                return
        self._batches.put(batch)

    def _is_alone(self, batch: _Batch) -> bool:
        """True if nothing waits behind one operation, and the disk is fast as far as the last batch tells."""
        return len(batch.operations) == 1 and not self._asked and self._last_ms < FAST_COMMIT_MS

    def _note_held(self, now_ms: int, since_ms: int, cpu_since_s: float) -> None:
        held_ms = now_ms - since_ms
        if held_ms <= CPU_MS_MAX:  # no more CPU than that either
            return
        if held_ms > HELD_MS_MAX or (thread_time() - cpu_since_s) * 1000 > CPU_MS_MAX:
            self._slow_until_ms = now_ms + SLOW_FOR_MS

    def _next_batch(self) -> _Batch:
        """The oldest requests, up to a weight; a heavier one is alone."""
        batch = _Batch([], [], 0, self.engine.clock.mono_ms())
        while self._asked and (not batch.operations or batch.weight + self._asked[0][0].weight <= self._weight_max):
            operation, reply = self._asked.popleft()
            if isinstance(reply, Future) and not reply.set_running_or_notify_cancel():
                continue  # the thread that asked has given up
            batch.operations.append(operation)
            batch.replies.append(reply)
            batch.weight += operation.weight
        self._last_size = len(batch.operations)
        return batch

    def _finish(self, batch: _Batch) -> None:
        try:
            committed = self._outcome(batch)
            now_ms = self.engine.clock.mono_ms()
            self._last_ms = now_ms - batch.started_ms
            self._expect(batch, now_ms)
            self.commit_ms = float(self._last_ms)
            self.commits_ms.add(self._last_ms)
            self.sizes.add(len(batch.replies))
            self._deliver(batch.replies, committed)
        finally:
            self._go_on()

    def _expect(self, batch: _Batch, now_ms: int) -> None:
        """Those who are answered now may soon ask again."""
        took_ms = now_ms - batch.decided_ms if batch.prepared is not None else 0
        self._weight_max = BATCH_MAX * _width(batch, took_ms)
        self._expected = min(len(self._asked) + len(batch.operations), BATCH_MAX)
        self._expected_until_ms = now_ms + min((took_ms + 1) // 2, GATHER_MS_MAX)

    def _outcome(self, batch: _Batch) -> Committed:
        if batch.prepared is not None:
            return self.engine.conclude(batch.prepared, batch.failure)
        return batch.committed or Committed(tuple(batch.failure for _ in batch.operations))

    def _go_on(self) -> None:
        if self._asked:
            self._loop.call_soon(self._gather, 0)
            return
        self._is_busy = False
        if self._idle is not None and not self._idle.done():
            self._idle.set_result(None)

    def _deliver(self, replies: list[_Reply], committed: Committed) -> None:
        for reply, answer in zip(replies, committed.answers, strict=True):
            try:
                if reply.done():
                    continue
                if isinstance(answer, BaseException):
                    reply.set_exception(answer)
                else:
                    reply.set_result(answer)
            except Exception as bug:  # noqa: BLE001 - one who cannot take his answer must not keep others from theirs
                self._on_bug(bug)
        for listener in self._after:
            listener(committed)

    # ---- in the thread

    def _run(self) -> None:
        while (batch := self._batches.get()) is not None:
            self._commit(batch)
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                self._loop.call_soon_threadsafe(self._finish, batch)
            del batch  # a thread that waits for the next one keeps nothing of the last

    def _commit(self, batch: _Batch) -> None:
        """After a COMMIT no look at a file or clock is here: each could wait for a busy loop's interpreter."""
        try:
            if batch.prepared is None:
                batch.committed = self.engine.run(batch.operations)
            else:
                batch.failure = self.engine.commit()
        except Exception as bug:  # noqa: BLE001 - the writer must outlive any bug; the edge answers 500
            batch.failure = bug
            self._on_bug(bug)


def _width(batch: _Batch, took_ms: int) -> int:
    """The width of the next batch, in usual ones: the slower a COMMIT beside the decisions, the more share it.

    It is no wider than the loop can decide in half of `CPU_MS_MAX`.
    """
    full_ms = max((batch.decided_ms - batch.started_ms) * BATCH_MAX // max(batch.weight, 1), 1)
    return max(min(1 + 2 * took_ms // full_ms, CPU_MS_MAX // (2 * full_ms), WIDER_MAX), 1) if took_ms else 1
