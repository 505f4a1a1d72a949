"""Drives loops for real: one thread each, one lock around their steps, effects carried out without it."""

from __future__ import annotations

import random
import threading
import traceback
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

from understudy.backoff import Backoff
from understudy.clock import Clock
from understudy.worker.effects import Abort, Effect, Fork, Loop, TellGuard, Wait, WriteLog
from understudy.worker.state import Signals

WAIT_SLICE_S = 2.0  # timers stand still while the machine sleeps; the clock of `Wait` does not
RESTART_MS_FIRST, RESTART_MS_MAX = 500, 30_000
PROMPT = (TellGuard, Abort)  # never block, and keep the order of decisions: done without giving up the lock


class Performer(Protocol):
    """Performs the effects that the driver does not know itself."""

    def perform(self, effect: Effect) -> Any:
        """The answer to the effect; an exception is thrown into the loop that asked."""
        ...


class Driver:
    """Owns the threads and the one lock of a daemon's loops."""

    def __init__(self, signals: Signals, clock: Clock, has_slept: Callable[[], bool] = lambda: False) -> None:
        self._signals = signals
        self._clock = clock
        self._has_slept = has_slept
        self._changed = threading.Condition()
        self._performer: Performer | None = None
        self.threads: dict[str, threading.Thread] = {}

    def use(self, performer: Performer) -> None:
        """Say who performs; apart from the constructor because performers raise signals here."""
        self._performer = performer

    def start(self, name: str, factory: Callable[[], Loop], *, again: bool = True) -> threading.Thread:
        """Run a loop in a thread of its own; RuntimeError if the machine has none to give."""
        thread = threading.Thread(target=partial(self._live, name, factory, again), name=name, daemon=True)
        before = self.threads.get(name)
        self.threads[name] = thread
        try:
            thread.start()
        except RuntimeError:
            if before is None:
                del self.threads[name]
            else:
                self.threads[name] = before
            raise
        return thread

    def raise_signal(self, name: str) -> None:
        """Wake the loop that waits for it; from any thread."""
        with self._changed:
            self._signals.raise_(name)
            self._changed.notify_all()

    def change(self, step: Callable[[], None]) -> None:
        """Change the shared state from outside a loop."""
        with self._changed:
            step()
            self._changed.notify_all()

    def ask(self, question: Callable[[], bool]) -> bool:
        """The answer of something that reads the shared state, from outside a loop."""
        with self._changed:
            return question()

    def wait(self, name: str, timeout_ms: int) -> bool:
        """Block until the signal is raised or the time (sleep of the machine included) is over."""
        until_ms = self._clock.mono_ms() + timeout_ms
        with self._changed:
            while not self._signals.take(name):
                left_s = (until_ms - self._clock.mono_ms()) / 1000
                if left_s <= 0:
                    return False
                self._changed.wait(min(left_s, WAIT_SLICE_S))
                if self._has_slept():
                    self._signals.raise_("beat")
                    self._changed.notify_all()
            return True

    def _live(self, name: str, factory: Callable[[], Loop], again: bool) -> None:  # noqa: FBT001
        pause = Backoff(RESTART_MS_FIRST, RESTART_MS_MAX, random.random)
        try:
            while True:
                try:
                    self._drive(factory())
                    return
                except Exception as error:  # noqa: BLE001 - the outermost loop: say it, go on
                    self._say_broken(name, error)
                    if not again:
                        return
                threading.Event().wait(pause.next_ms() / 1000)
        finally:
            if self.threads.get(name) is threading.current_thread():
                del self.threads[name]

    def _drive(self, loop: Loop) -> None:
        resume: Callable[[], Effect] = partial(next, loop)
        while True:
            try:
                effect = self._step(loop, resume)
            except StopIteration:
                return
            try:
                resume = partial(loop.send, self._perform(effect))
            except Exception as error:  # noqa: BLE001 - the loop that asked decides
                resume = partial(loop.throw, error)

    def _step(self, loop: Loop, resume: Callable[[], Effect]) -> Effect:
        """Run the loop to its next effect that takes time."""
        with self._changed:
            before = self._signals.changes
            try:
                effect = resume()
                while isinstance(effect, PROMPT):
                    effect = loop.send(self._perform(effect))
                return effect
            finally:
                if self._signals.changes != before:
                    self._changed.notify_all()

    def _perform(self, effect: Effect) -> Any:
        if isinstance(effect, Wait):
            return self.wait(effect.signal, effect.timeout_ms)
        if isinstance(effect, Fork):
            self.start(effect.name, effect.start, again=effect.again)
            return None
        assert self._performer is not None
        return self._performer.perform(effect)

    def _say_broken(self, name: str, error: Exception) -> None:
        trace = "".join(traceback.format_exception(error))
        assert self._performer is not None
        self._performer.perform(WriteLog("critical", "Daemon", f"Loop {name} broke", {"trace": trace}))
