"""One thread that makes steps: it sleeps as long as each says, can be woken, and ends only when it is stopped."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable

from understudy.backoff import Backoff
from understudy.clock import Clock

RETRY_MS_FIRST, RETRY_MS_MAX = 500, 2_000  # after a step that failed


class Stepper:
    """`step` does what is due and returns how many ms may pass until the next one.

    A step that raises is reported to `on_trouble` and made again after a short while, longer each time.
    """

    def __init__(
        self, name: str, step: Callable[[], int], clock: Clock, on_trouble: Callable[[Exception], None]
    ) -> None:
        self._step = step
        self._clock = clock
        self._on_trouble = on_trouble
        self._retry = Backoff(RETRY_MS_FIRST, RETRY_MS_MAX, random.random)
        self._woken = threading.Event()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._last_step_mono = clock.mono_ms()

    @property
    def is_over(self) -> bool:
        """True if no further step will be made."""
        return self._stopped.is_set()

    def start(self) -> None:
        """Begin; RuntimeError if the machine has no thread to give."""
        self._thread.start()

    def wake(self) -> None:
        """Make the next step now; from any thread."""
        self._woken.set()

    def stop(self) -> None:
        """Make no further step; a step that is under way goes on to its end."""
        self._stopped.set()
        self._woken.set()

    def join(self, within_s: float) -> None:
        """Wait for the end, but no longer than that."""
        if self._thread.is_alive():
            self._thread.join(within_s)

    def since_step_ms(self) -> int:
        """Milliseconds since a step last began or ended: it grows if the thread is stuck in one."""
        return self._clock.mono_ms() - self._last_step_mono

    def sleep(self, ms: int) -> None:
        """Let time pass within a step, until it is over or the thread is stopped."""
        self._stopped.wait(ms / 1000)

    def _run(self) -> None:
        while True:
            self._woken.clear()
            if self.is_over:  # asked only now: a stop also wakes, and that must not be forgotten
                return
            pause_ms = self.safe_step()
            self._last_step_mono = self._clock.mono_ms()
            self._woken.wait(max(pause_ms, 0) / 1000)

    def safe_step(self) -> int:
        """One step; if it fails, the pause after which it is tried again."""
        self._last_step_mono = self._clock.mono_ms()
        try:
            pause_ms = self._step()
        except Exception as trouble:  # noqa: BLE001 - the outermost place of a thread that must not end by itself
            if not self.is_over:
                self._on_trouble(trouble)
                self.sleep(self._retry.next_ms())
            return 0
        self._retry.reset()
        return pause_ms
