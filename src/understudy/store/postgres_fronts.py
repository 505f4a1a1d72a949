"""The beginning of the queue: claims do not read what lies before it.

While another transaction holds back vacuum (a backup, a report, a forgotten session), index entries of tasks that were
claimed long ago stay, in front of those that are claimable; each claim would read them all, more with every task.
So once finding the sets of needs takes long, the first claimable place of each set is looked for beside the claims, in
a read of its own, and claims begin there. What this hub makes claimable before such a place moves it back at once.

Doubt: what another hub makes claimable before it (a retry, a task with priority) is found with the next look: after
LOOK_EVERY_S and the time of two looks. Nothing of this is in use while claims are fast.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress

from understudy.errors import UnavailableError
from understudy.store.needs import Place

SLOW_S, FAST_S = 0.03, 0.015  # the time of a search through the sets of needs; a busy machine alone takes some ms
LOOK_EVERY_S = 1.0  # or as long as a look takes, if that is more
STALE_S = 60.0  # looks fail: everything is read again
OPEN_FOR_S = 60.0  # a set of needs counts as open after a task with it was saved or found
OPEN_MAX = 4_096
Heads = dict[str, Place]  # by set of needs, and by the name of a deadline


class Fronts:
    """The first claimable place of each set of needs, while it is worth it; used by the writing thread and by looks."""

    def __init__(self, look: Callable[[], Heads]) -> None:
        self._look = look
        self._lock = threading.Lock()
        self._heads: Heads | None = None
        self._looked_s = 0.0  # when the last look began that brought `_heads`
        self._next_s = 0.0
        self._since: Heads | None = None  # what was made claimable while a look is under way: it may not see it
        self._open: dict[str, float] = {}  # sets of needs, and until when they count as open
        self._thread: threading.Thread | None = None

    def heads(self) -> Heads | None:
        """The first place of each set that has anything claimable; None: read all of it."""
        with self._lock:
            if self._heads is not None and time.monotonic() - self._looked_s > STALE_S:
                self._heads = None
            if self._heads is None:
                return None
            heads = dict(self._heads)
        self._begin()
        return heads

    def note(self, took_s: float) -> None:
        """The time that a search through all of it took."""
        if took_s > SLOW_S:
            self._begin()

    def add(self, made: Mapping[str, Place]) -> None:
        """The first places of what a transaction has made, at its end, whether that was a commit or not."""
        if not made:
            return
        with self._lock:
            for known in (self._since, self._heads):
                if known is not None:
                    _merge(known, made)
        self.note_open(made)

    def note_open(self, sets: Iterable[str]) -> None:
        """Unfinished tasks have these sets of needs."""
        with self._lock:
            if len(self._open) > OPEN_MAX:
                self._open.clear()
            self._open.update(dict.fromkeys(sets, time.monotonic() + OPEN_FOR_S))

    def open_among(self, sets: Iterable[str]) -> set[str]:
        """Those that had an unfinished task a while ago; none where all can be read fast."""
        now_s = time.monotonic()
        with self._lock:
            return set() if self._heads is None else {one for one in sets if self._open.get(one, 0) > now_s}

    def wait(self) -> None:
        """Until no look is under way."""
        if self._thread is not None:
            self._thread.join()

    def _begin(self) -> None:
        with self._lock:
            if time.monotonic() < self._next_s:
                return
            self._next_s = float("inf")
            self._since = {}
        thread = threading.Thread(target=self._run, name="fronts", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # "can't start new thread"
            self._end(time.monotonic(), None)
        else:
            self._thread = thread

    def _run(self) -> None:
        began_s = time.monotonic()
        heads: Heads | None = None
        try:
            with suppress(UnavailableError):
                heads = self._look()
        finally:
            self._end(began_s, heads)

    def _end(self, began_s: float, heads: Heads | None) -> None:
        with self._lock:
            now_s = time.monotonic()
            self._next_s = now_s + max(LOOK_EVERY_S, now_s - began_s)
            since, self._since = self._since, None
            if heads is None:
                return
            _merge(heads, since or {})
            self._heads = heads if now_s - began_s > FAST_S else None
            self._looked_s = began_s


def _merge(known: Heads, more: Mapping[str, Place]) -> None:
    for needs, place in more.items():
        known[needs] = min(known.get(needs, place), place)
