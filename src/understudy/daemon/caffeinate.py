"""Keeps a Mac awake while a task runs, if its owner wants that (docs/measured.md, Sleep and clocks)."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from typing import Protocol

WORDS = ("ac-only", "always", "never")
END_S = 5.0


class Holding(Protocol):
    """A process that keeps the machine awake, and can be ended."""

    def terminate(self) -> None:
        """End it."""
        ...

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end."""
        ...


def _start(argv: Sequence[str]) -> Holding:
    quiet = subprocess.DEVNULL
    return subprocess.Popen(argv, stdin=quiet, stdout=quiet, stderr=quiet)


def caffeinate(mode: str, *, platform: str = sys.platform) -> tuple[str, ...]:
    """The command that keeps a Mac awake as long as this process lives; () on other systems.

    `-s` holds only on mains power, which is `ac-only`; `-i` also on the battery.
    """
    if platform != "darwin" or mode == "never":
        return ()
    return ("caffeinate", *(("-i",) if mode == "always" else ()), "-s", "-w", str(os.getpid()))


class Awake:
    """Held while anything runs; threads may share it."""

    def __init__(self, argv: tuple[str, ...], start: Callable[[Sequence[str]], Holding] = _start) -> None:
        self._argv = argv
        self._start = start
        self._lock = threading.Lock()
        self._running: set[str] = set()
        self._holding: Holding | None = None

    def hold(self, run_id: str) -> None:
        """A run begins."""
        with self._lock:
            self._running.add(run_id)
            if self._argv and self._holding is None:
                with contextlib.suppress(OSError):  # there is no such command: the machine cannot be kept awake
                    self._holding = self._start(self._argv)

    def let_go(self, run_id: str) -> None:
        """A run has ended; with the last one the machine may sleep again."""
        with self._lock:
            self._running.discard(run_id)
            if self._running or self._holding is None:
                return
            holding, self._holding = self._holding, None
            with contextlib.suppress(OSError, subprocess.TimeoutExpired):
                holding.terminate()
                holding.wait(END_S)
