"""The world of one seed: a clock that only the heap of events moves, one source of chance, and the story."""

from __future__ import annotations

import hashlib
import heapq
import itertools
import random
from collections.abc import Callable

from understudy.clock import ManualClock, iso

STEPS_REPORTED = 30


class ViolationError(AssertionError):
    """An invariant does not hold: a bug was found, in the hub, in a loop or in the oracle."""

    def __init__(self, invariant: str, what: str, about: str = "") -> None:
        super().__init__(invariant, what, about)
        self.invariant = invariant
        self.what = what
        self.about = about  # a task or daemon, to pick its steps out of the story

    def __str__(self) -> str:
        return f"{self.invariant}: {self.what}"


class Story:
    """Every step of a world, in order; equal worlds tell equal stories."""

    def __init__(self) -> None:
        self.steps: list[tuple[int, str]] = []

    def add(self, at_ms: int, step: str) -> None:
        """One more step."""
        self.steps.append((at_ms, step))

    def digest(self) -> str:
        """A short name for the whole story."""
        whole = hashlib.blake2b(digest_size=12)
        for at_ms, step in self.steps:
            whole.update(f"{at_ms} {step}\n".encode())
        return whole.hexdigest()

    def last(self, count: int = STEPS_REPORTED, about: str = "") -> list[str]:
        """The last steps, or those that mention a name."""
        chosen = [step for step in self.steps if about in step[1]] if about else self.steps
        return [f"{at_ms / 1000:10.3f} s  {step[:400]}" for at_ms, step in chosen[-count:]]


class World:
    """The state that all parts of a simulation share. Times are virtual ms since the start of the world."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.random = random.Random(seed)
        self.clock = ManualClock()  # the hub's; machines have their own wall clocks, time passes for all alike
        self.story = Story()
        self.actor = "world"  # who acts at this moment
        self._start_ms = self.clock.mono_ms()
        self._order = itertools.count()
        self._due: list[tuple[int, int, Callable[[], None]]] = []

    @property
    def now_ms(self) -> int:
        """Elapsed time; jumps of wall clocks do not touch it."""
        return self.clock.mono_ms() - self._start_ms

    def at(self, at_ms: int, action: Callable[[], None]) -> None:
        """Let it happen at an instant (at the earliest now)."""
        heapq.heappush(self._due, (max(at_ms, self.now_ms), next(self._order), action))

    def after(self, ms: int, action: Callable[[], None]) -> None:
        """Let it happen in so many ms."""
        self.at(self.now_ms + ms, action)

    def run_until(self, end_ms: int, holds: Callable[[], bool] | None = None) -> bool:
        """Let time pass until the instant, or until something holds → whether it does."""
        while self._due and self._due[0][0] <= end_ms:
            at_ms, _, action = heapq.heappop(self._due)
            self.clock.advance(at_ms - self.now_ms)
            action()
            if holds is not None and holds():
                return True
        self.clock.advance(max(0, end_ms - self.now_ms))
        return holds is not None and holds()

    def chance(self, probability: float) -> bool:
        """True if something of this probability happens."""
        return probability > 0 and self.random.random() < probability

    def between(self, low: int, high: int) -> int:
        """An integer, both bounds included."""
        return self.random.randint(low, high) if high > low else low

    def tell(self, step: str) -> None:
        """Put a step into the story."""
        self.story.add(self.now_ms, step)

    def wall(self) -> str:
        """The hub's wall clock, for people."""
        return iso(self.clock.now_ms())
