"""The guard: a process beside the daemon that kills what must not go on, even when the daemon cannot.

Started as `python -P -m understudy.worker.guard` in a session of its own; it gets JSON lines on stdin
(`guard_policy.Message`). The end of that pipe is the end of its daemon, whatever the cause. It holds little
memory, and no thread until it has something to log; what speaks HTTP is imported when the last will is spoken.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
from collections.abc import Iterator

import msgspec

from understudy.clock import Clock, SystemClock
from understudy.line_queue import queue_streams
from understudy.log import Log
from understudy.worker.guard_policy import (
    Drop,
    EndGuard,
    Gone,
    Guard,
    Kill,
    Killed,
    Message,
    Ready,
    WatchedRun,
    WatchTree,
    Will,
)
from understudy.worker.hidden import hide
from understudy.worker.process_tree import ProcessTree

READ_BYTES = 65_536
LOOK_MS = 1_000  # select does not count sleep; deadlines do
NOTE_MS = 3_000  # docs/measured.md, Process trees: noted every few seconds
LATE_DEATH_MS = 5_000  # on a busy machine a killed process takes a while to be gone
UNROOTED_MS = 400  # a process that was being born when its daemon died has no marker before its exec
LINE_BYTES_MAX = 1 << 20


class GuardProcess:
    """Carries out what the rules decide."""

    def __init__(self, clock: Clock, log: Log) -> None:
        self._clock = clock
        self._log = log
        self._rules = Guard()
        self._trees: dict[str, ProcessTree] = {}
        self._survived: set[str] = set()  # runs of which something lives on after the last KILL
        self._noted_ms = 0
        self.is_over = False

    def take(self, message: Message | None) -> None:
        """Let the rules decide on a message (or on the time) and do it."""
        wills = []
        for action in self._rules.step(self._clock.mono_ms(), message):
            match action:
                case WatchTree(run):
                    self._tree(run).note()
                case Kill(run, reason):
                    self._kill(run, reason)
                case Drop(run_id):
                    self._trees.pop(run_id, None)
                    self._survived.discard(run_id)
                case Will(run):
                    wills.append(run)
                case EndGuard():
                    self._speak([run for run in wills if run.run_id not in self._survived])
                    self._speak([run for run in wills if run.run_id in self._survived and self._dies_late(run)])
                    self.is_over = True

    def look(self) -> None:
        """Time has passed."""
        self.take(None)
        now_ms = self._clock.mono_ms()
        if now_ms - self._noted_ms >= NOTE_MS:
            self._noted_ms = now_ms
            for tree in self._trees.values():
                tree.note()

    def patience_ms(self) -> int | None:
        """Milliseconds until something can become due; None: nothing can."""
        due_ms = self._rules.next_due_ms()
        if due_ms is None:
            return NOTE_MS if self._trees else None
        return max(0, min(LOOK_MS, due_ms - self._clock.mono_ms()))

    def _tree(self, run: WatchedRun) -> ProcessTree:
        tree = self._trees.setdefault(run.run_id, ProcessTree(run.run_id, self._clock))
        if run.pid:
            tree.root(run.pid, run.birth)
        return tree

    def _kill(self, run: WatchedRun, reason: str) -> None:
        with contextlib.suppress(OSError):  # nobody may be there to read it
            os.write(sys.stdout.fileno(), msgspec.json.encode(Killed(run.run_id)) + b"\n")
        left = self._tree(run).kill()
        until_ms = self._clock.mono_ms() + (0 if run.pid else UNROOTED_MS)
        while self._clock.mono_ms() < until_ms:
            left = self._tree(run).kill()
            select.select([], [], [], 0.05)
        (self._survived.add if left else self._survived.discard)(run.run_id)
        level = "critical" if left else "warning"
        self._log.emit(level, "Guard", f"Killed {run.task_id}", reason=reason, left=left or None)

    def _dies_late(self, run: WatchedRun) -> bool:
        """True if what has survived the KILL dies after all; what lives on keeps its lease, until it ends by itself."""
        if not self._tree(run).kill(LATE_DEATH_MS):
            return True
        self._log.emit("critical", "Guard", f"No last will for {run.task_id}: it lives, its lease ends by itself")
        return False

    def _speak(self, wills: list[WatchedRun]) -> None:
        if wills and self._rules.hello is not None:
            from understudy.worker.last_will import release_all  # noqa: PLC0415 - costs memory, needed once at most

            release_all(self._rules.hello, wills, self._log)


def main() -> None:
    """Guard until the pipe ends and everything is dead."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    hide()
    os.set_blocking(sys.stdout.fileno(), False)  # a stopped daemon does not read
    with contextlib.suppress(OSError):
        os.write(sys.stdout.fileno(), msgspec.json.encode(Ready()) + b"\n")
    queue_streams("stderr")
    clock = SystemClock()
    process = GuardProcess(clock, Log(clock))
    lines = _Lines(sys.stdin.fileno())
    while not process.is_over:
        patience_ms = process.patience_ms()
        timeout_s = None if patience_ms is None else patience_ms / 1000
        if select.select([lines.fd], [], [], timeout_s)[0]:
            for message in lines.read():
                process.take(message)
        if not process.is_over:
            process.look()


class _Lines:
    """Whole lines out of a pipe, as messages; `Gone` when it ends."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._rest = b""
        self._decoder = msgspec.json.Decoder(Message)

    def read(self) -> Iterator[Message]:
        chunk = os.read(self.fd, READ_BYTES)
        if not chunk:
            yield Gone()
            return
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        for line in lines:
            yield self._decoder.decode(line)
        if len(self._rest) > LINE_BYTES_MAX:  # cannot be ours: better no guard than a deaf one
            raise ValueError("a line without end on the guard's pipe")


if __name__ == "__main__":
    main()
