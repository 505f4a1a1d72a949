"""The second driver of the loops: one thread, effects answered by the heap of events, interleaved by chance."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from understudy.simulation.world import ViolationError, World
from understudy.worker.effects import Effect, Fork, Loop, Wait
from understudy.worker.state import Signals

LATER = object()  # what a performer returns when it will answer by `go_on`
GoOn = Callable[[Any], None]
Perform = Callable[[Effect, GoOn], Any]
WAKE_MS_MAX = 2


class Loops:
    """All loops of one life; frozen, they keep what happens to them until they are thawed; killed, they are gone."""

    def __init__(self, world: World, name: str, signals: Signals, perform: Perform) -> None:
        self._world = world
        self._name = name
        self._signals = signals
        self._perform = perform
        self._waiters: dict[str, GoOn] = {}
        self._held: list[Callable[[], None]] = []
        self.is_alive = True
        self.is_frozen = False

    def start(self, name: str, factory: Callable[[], Loop]) -> None:
        """Run a loop."""
        self._go(partial(self._drive, name, factory(), None))

    def kill(self) -> None:
        """No step more."""
        self.is_alive = False

    def hold(self, *, frozen: bool) -> None:
        """Frozen, no step is made; thawed, everything that was held back happens, in any order."""
        self.is_frozen = frozen
        if frozen:
            return
        held, self._held = self._held, []
        self._world.random.shuffle(held)
        for step in held:
            self._world.after(self._world.between(0, 5), partial(self._go, step))

    def raise_signal(self, name: str) -> None:
        """From outside a loop."""
        self._signals.raise_(name)
        self._wake()

    def wait(self, signal: str, timeout_ms: int, go_on: GoOn) -> None:
        """Call `go_on` with whether the signal was raised in time; the same rules as the effect `Wait`."""

        def time_over() -> None:
            if self._waiters.get(signal) is go_on:
                del self._waiters[signal]
                go_on(False)  # noqa: FBT003 - the answer to a wait

        if signal in self._waiters:
            raise ViolationError("a signal has one waiter", f"{self._name}: {signal}")
        self._waiters[signal] = go_on
        self._world.after(max(0, timeout_ms), partial(self._go, time_over))
        self._wake()

    def _go(self, step: Callable[[], None]) -> None:
        if not self.is_alive:
            return
        if self.is_frozen:
            self._held.append(step)
            return
        step()
        self._wake()

    def _wake(self) -> None:
        if not self.is_alive or self.is_frozen:
            return
        for name in [name for name in self._waiters if self._signals.take(name)]:
            go_on = self._waiters.pop(name)
            self._world.after(self._world.between(0, WAKE_MS_MAX), partial(self._go, partial(go_on, True)))  # noqa: FBT003

    def _drive(self, name: str, loop: Loop, value: Any) -> None:
        while self.is_alive:
            try:
                effect = loop.send(value)
            except StopIteration:
                return
            except ViolationError:
                raise
            except Exception as bug:
                raise ViolationError("a loop never breaks", f"{self._name} {name}: {bug!r}", self._name) from bug
            go_on = self._go_on(name, loop)
            if isinstance(effect, Wait):
                self.wait(effect.signal, effect.timeout_ms, lambda raised: self._drive(name, loop, raised))
                return
            if isinstance(effect, Fork):
                self._world.after(self._world.between(0, WAKE_MS_MAX), partial(self.start, effect.name, effect.start))
                value = None
                continue
            value = self._perform(effect, go_on)
            if value is LATER:
                return

    def _go_on(self, name: str, loop: Loop) -> GoOn:
        return lambda value: self._go(partial(self._drive, name, loop, value))
