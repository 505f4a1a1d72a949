"""Watches over the store: says once what is wrong, saves what can be saved, finds out when it is well again."""

from __future__ import annotations

import threading

from understudy.clock import Clock
from understudy.errors import StoreError
from understudy.log import Log
from understudy.runtime.stepper import Stepper
from understudy.store.base import Store, WatchedStore

LOOK_EVERY_MS = 1_000
STOP_WITHIN_S = 10.0  # a rescue that is under way may take a while
CHECK_AFTER_MS, CHECK_AFTER_MS_MAX = 2_000, 600_000
RESCUE_AGAIN_MS = 60_000
SAID_AGAIN_MS = 600_000
WELL_AFTER_MS = 5_000
REFUSED = "every request is answered 503, and nothing is acknowledged"


class StoreVoice:
    """The one voice about a store that fails: said when it begins, every ten minutes, and when it is over."""

    def __init__(self, clock: Clock, log: Log) -> None:
        self._clock = clock
        self._log = log
        self._lock = threading.Lock()
        self._said_mono: int | None = None
        self._failed_mono = 0

    def failed(self, error: BaseException) -> None:
        """Something could not be written or read."""
        mono = self._clock.mono_ms()
        with self._lock:
            self._failed_mono = mono
            is_news = self._said_mono is None or mono - self._said_mono >= SAID_AGAIN_MS
            self._said_mono = mono if is_news else self._said_mono
        if is_news:
            self._log.emit("critical", "Store", f"{error}")

    def works(self) -> None:
        """Something was committed: after a while without another failure it is over."""
        if self._said_mono is None:
            return
        with self._lock:
            is_over = self._clock.mono_ms() - self._failed_mono >= WELL_AFTER_MS
            self._said_mono = None if is_over else self._said_mono
        if is_over:
            self._log.emit("info", "Store", "The store works again")


class StoreWatch:
    """A thread that looks at a store on files; for any other there is nothing to watch."""

    def __init__(self, store: Store, clock: Clock, log: Log) -> None:
        self._store = store if isinstance(store, WatchedStore) else None
        self._clock = clock
        self._log = log
        self._trouble = ""
        self._check_after_ms = CHECK_AFTER_MS
        self._check_mono = 0
        self._rescue_mono = 0
        self._is_rescued = False
        self._stepper = Stepper("store", self.step, clock, self._on_trouble)

    def start(self) -> None:
        """Begin."""
        if self._store is not None:
            self._stepper.start()

    def stop(self) -> None:
        """Look no more."""
        self._stepper.stop()
        self._stepper.join(STOP_WITHIN_S)

    def _on_trouble(self, trouble: Exception) -> None:
        self._log.emit("critical", "Store", f"The store could not be looked at: {trouble!r}")

    def step(self) -> int:
        """Look, say what is new, save or check what needs it; how many ms may pass until the next look."""
        assert self._store is not None
        found = self._store.look()
        if found and not self._trouble:
            self._log.emit("critical", "Store", f"{found}: {REFUSED}")
            self._check_mono = self._clock.mono_ms() + self._check_after_ms
        if self._trouble and not found:
            self._is_rescued = False
            self._check_after_ms = CHECK_AFTER_MS
            self._log.emit("warning", "Store", "The store is proven to be the one it was, and well: it is used again")
        self._trouble = found
        if found:
            self._save(found)
            self._check()
        return LOOK_EVERY_MS

    def _save(self, found: str) -> None:
        """Files that were deleted or replaced are still ours to read: what was acknowledged is put beside them."""
        assert self._store is not None
        mono = self._clock.mono_ms()
        is_lost = "while the hub runs" in found
        if not is_lost or self._is_rescued or mono < self._rescue_mono:
            return
        self._rescue_mono = mono + RESCUE_AGAIN_MS
        try:
            copy = self._store.rescue(self._clock.now_ms())
        except (OSError, StoreError) as error:
            self._log.emit("critical", "Store", f"What was in the store could not be saved: {error}")
            return
        self._is_rescued = True
        self._log.emit(
            "critical",
            "Store",
            f"All that was acknowledged is in {copy}: stop the hub, move what is left of its store (.db, -wal, -shm) "
            f"away, move the copy into place, start it",
        )

    def _check(self) -> None:
        """Read a damaged store as a whole, ever less often: only that proves that it is intact again."""
        assert self._store is not None
        mono = self._clock.mono_ms()
        if mono >= self._check_mono:
            self._check_after_ms = min(self._check_after_ms * 2, CHECK_AFTER_MS_MAX)
            self._check_mono = mono + self._check_after_ms
            self._store.check()
