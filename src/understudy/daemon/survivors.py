"""Processes that survived the end of their run are killed again: rarely, and all of them by one look.

The next start of a run bears the same name, and a search for that name finds it too. So once nothing of a run lives,
its tree is let go before its name is free: nobody who still holds the tree kills by it.
"""

from __future__ import annotations

import contextlib
import threading
import time
from pathlib import Path

from understudy.clock import Clock
from understudy.worker.process_tree import KILL_MS_MAX, Process, ProcessTree, processes

EVERY_MS = 60_000  # a look takes some ms (docs/measured.md, Process trees), and holds up the end of a run
PAUSE_S = 0.05


class Survivors:
    """The trees of runs of which something lives. They need no bound: each has a process that the system counts."""

    def __init__(self, clock: Clock, markers: Path) -> None:
        self._clock = clock
        self._markers = markers
        self._trees: dict[str, ProcessTree] = {}
        self._changing = threading.Lock()
        self._due_ms = 0  # mono: of the next look that nobody waits for

    def keep(self, run_id: str, tree: ProcessTree) -> None:
        """Something of it lives; its marker stays for the next life."""
        self._trees[run_id] = tree

    def forget(self, run_id: str, tree: ProcessTree) -> None:
        """Nothing of it lives: said by the thread of the run itself, before the next start."""
        tree.let_go()
        with self._changing:
            self._drop(run_id)

    def kill(self, run_id: str) -> int | None:
        """KILL what is left of a run that somebody waits for → how many survive; None: nothing of it is known here."""
        tree = self._trees.get(run_id)
        if tree is None:
            return None
        now = _look()
        left = 1 if now is None else tree.kill_again(now, KILL_MS_MAX)
        if not left:
            self.forget(run_id, tree)
        return left

    def kill_now_and_then(self) -> None:
        """One KILL to everybody, once a minute at most."""
        with self._changing:
            now_ms = self._clock.mono_ms()
            if now_ms < self._due_ms or not self._trees:
                return
            self._due_ms = now_ms + EVERY_MS
        self._kill_all()

    def kill_all(self, limit_ms: int) -> None:
        """KILL everybody, again and again until nobody is left, for no longer than that."""
        until_ms = self._clock.mono_ms() + limit_ms
        while self._kill_all() and self._clock.mono_ms() < until_ms:
            time.sleep(PAUSE_S)

    def _kill_all(self) -> bool:
        """→ whether anybody is left."""
        trees = list(self._trees.items())
        if (now := _look() if trees else None) is not None:
            for run_id, tree in trees:
                if not tree.kill_again(now):
                    self._has_gone(run_id, tree)
        return bool(self._trees)

    def _has_gone(self, run_id: str, tree: ProcessTree) -> None:
        """Unless its run knows it already, and its name and marker are those of the next start."""
        tree.let_go()
        with self._changing:
            if self._trees.get(run_id) is tree:
                self._drop(run_id)

    def _drop(self, run_id: str) -> None:
        """First its marker: once nothing is known of a run, its next start may write one of the same name."""
        with contextlib.suppress(OSError):
            (self._markers / run_id).unlink(missing_ok=True)
        self._trees.pop(run_id, None)


def _look() -> dict[int, Process] | None:
    """None if this machine cannot look now."""
    try:
        return processes()
    except OSError:
        return None
