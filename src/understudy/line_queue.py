"""Queues lines for an output that may block (a full pipe, a terminal after Ctrl-S, a hung disk): no writer waits.

Each output has a bounded queue and a thread of its own. Lines that do not fit are dropped and counted, and the output
shows at that place how many are missing.
"""

from __future__ import annotations

import atexit
import io
import os
import select
import sys
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

LINES_MAX = 4_096
BYTES_MAX = 1 << 20
DRAIN_S = 1.0  # at the end of a process: a reader that takes nothing does not hold it for longer


class LineQueue:
    """Takes lines without waiting; its thread, started by the first line, writes them in order."""

    def __init__(self, write: Callable[[bytes], object], would_block: Callable[[bytes], bool] = lambda _: True) -> None:
        """`write` may block; its OSError or ValueError costs that line, which is counted.

        `would_block` is asked only where no thread can be started: then a line that need not wait is written at once.
        """
        self._write = write
        self._would_block = would_block
        self.missing_line: Callable[[int], str] = lambda count: f"understudy: {count} lines are missing here"
        self.begin()
        _QUEUES.add(self)

    def begin(self) -> None:
        """Empty and without a thread: also what a forked child does, because the parent writes what was queued."""
        self._turn = threading.Condition()  # of a lock that the same thread may take again: a signal handler may speak
        self._lines: deque[tuple[bytes, int]] = deque()  # with the number of lines that are lost if it is
        self._bytes = 0
        self._missing = 0
        self._is_writing = False
        self._thread: threading.Thread | None = None
        self.failure: Exception | None = None  # of the last write

    def put(self, text: bytes) -> None:
        """Queue one line or some; they are dropped if there is no room."""
        count = text.count(b"\n") or 1
        with self._turn:
            has_room = len(self._lines) < LINES_MAX and self._bytes + len(text) <= BYTES_MAX
            if has_room or not self._lines:
                self._admit_missing()
                self._append(text, count)
            else:
                self._missing += count
            self._start()
            self._turn.notify_all()

    def drain(self, within_s: float) -> bool:
        """Wait until everything is written → whether it is."""
        with self._turn:
            self._start()
            return self._turn.wait_for(self._is_idle, within_s if self._thread else 0)

    def _is_idle(self) -> bool:
        return not self._lines and not self._is_writing

    def _append(self, text: bytes, count: int) -> None:
        self._lines.append((text, count))
        self._bytes += len(text)

    def _admit_missing(self) -> None:
        """Say where they would stand how many lines are missing."""
        if self._missing:
            count, self._missing = self._missing, 0
            self._append(self.missing_line(count).encode("utf-8", "replace") + b"\n", count)

    def _start(self) -> None:
        """A thread that cannot be started is tried again with the next line."""
        if not self._lines or (self._thread and self._thread.is_alive()):
            return
        thread = threading.Thread(target=self._run, name="lines", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # "can't start new thread"
            self._thread = None
            self._write_at_once()
        else:
            self._thread = thread

    def _write_at_once(self) -> None:
        while self._lines and not self._would_block(self._lines[0][0]):
            text, count = self._lines.popleft()
            self._bytes -= len(text)
            self.failure = self._failure_of(text)
            self._missing += count if self.failure is not None else 0

    def _run(self) -> None:
        while True:
            with self._turn:
                self._turn.wait_for(lambda: self._lines)
                text, count = self._lines.popleft()
                self._bytes -= len(text)
                self._is_writing = True
            failure = self._failure_of(text)
            with self._turn:
                self._is_writing = False
                self.failure = failure
                if failure is not None:
                    self._missing += count
                elif not self._lines:
                    self._admit_missing()
                self._turn.notify_all()

    def _failure_of(self, text: bytes) -> Exception | None:
        try:
            self._write(text)
        except (OSError, ValueError) as error:
            return error
        return None


_QUEUES: weakref.WeakSet[LineQueue] = weakref.WeakSet()


def drain(within_s: float = DRAIN_S) -> None:
    """Before this process ends or becomes another one: wait until every queue is written, but no longer than that."""
    until_s = time.monotonic() + within_s
    for queue in list(_QUEUES):
        queue.drain(max(0.0, until_s - time.monotonic()))


def _begin_in_child() -> None:
    for queue in list(_QUEUES):
        queue.begin()


atexit.register(drain)
os.register_at_fork(after_in_child=_begin_in_child)


class QueuedStream(io.TextIOWrapper):
    """As a standard stream, but its writes go to a queue; like a pipe it says when its reader has gone."""

    def __init__(self, stream: TextIO, queue: LineQueue) -> None:
        self.queue = queue
        end = _QueueEnd(stream.name, stream.fileno(), queue)
        super().__init__(end, encoding=stream.encoding, errors=stream.errors, line_buffering=True)


class _QueueEnd(io.RawIOBase):
    """The binary end of a text stream."""

    def __init__(self, name: str, fd: int, queue: LineQueue) -> None:
        self.name = name
        self._fd = fd
        self._queue = queue

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._fd

    def isatty(self) -> bool:
        return os.isatty(self._fd)

    def write(self, data: ReadableBuffer, /) -> int:
        """All of it. BrokenPipeError, one line late, if nobody reads any more."""
        text = bytes(data)
        self._queue.put(text)
        if isinstance(self._queue.failure, BrokenPipeError):
            raise BrokenPipeError(*self._queue.failure.args)
        return len(text)


def queue_streams(*names: str) -> None:
    """From now on these standard streams of this process wait for no reader; `missing_line` of each can be set.

    Those that lead to the same place share a queue, so that their order stays. One that a program has replaced by
    an object of its own (a test's) is left alone.
    """
    queues: dict[tuple[int, int], LineQueue] = {}
    for name in names:
        stream = getattr(sys, name)
        if isinstance(stream, QueuedStream) or not _is_standard(stream):
            continue
        stream.flush()
        place = os.fstat(stream.fileno())
        key = (place.st_dev, place.st_ino)
        if key not in queues:
            descriptor = _Descriptor(stream.fileno())
            queues[key] = LineQueue(descriptor.write, descriptor.would_block)
        setattr(sys, name, QueuedStream(stream, queues[key]))


def _is_standard(stream: TextIO) -> bool:
    try:
        return stream.fileno() in (1, 2)
    except (OSError, ValueError, AttributeError):
        return False


class _Descriptor:
    """Writes all of a text, however many steps it takes, also where somebody made the descriptor non-blocking."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def would_block(self, text: bytes) -> bool:
        """False only if all of it has room now: of a pipe, what is written in one piece."""
        try:
            return len(text) > select.PIPE_BUF or not select.select([], [self._fd], [], 0)[1]
        except (OSError, ValueError):  # it is closed: the write says so
            return False

    def write(self, text: bytes) -> None:
        rest = memoryview(text)
        while rest:
            try:
                rest = rest[os.write(self._fd, rest) :]
            except BlockingIOError:
                select.select([], [self._fd], [])
