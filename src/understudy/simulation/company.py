"""A simulated hub among others over the same database: its name, and what they share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec import Struct

from understudy.hub.batch import Committed
from understudy.simulation.oracle import Oracle
from understudy.simulation.shared_store import Database
from understudy.simulation.takeover_oracle import StandIn
from understudy.simulation.world import World


class Ears:
    """The time in which no hub hears: only that does not count."""

    def __init__(self, world: World, oracle: Oracle) -> None:
        self._world = world
        self._oracle = oracle
        self._hearing: set[str] = set()
        self._silent_since_ms = 0

    def open(self, name: str) -> None:
        """A hub begins to hear."""
        if not self._hearing:
            self._oracle.hears_again(self._silent_since_ms)
        self._hearing.add(name)

    def close(self, name: str) -> None:
        """A hub hears no more."""
        if self._hearing == {name}:
            self._silent_since_ms = self._world.now_ms
        self._hearing.discard(name)


class Company(Struct, frozen=True):
    """The surroundings of one hub."""

    ears: Ears
    database: Database | None = None  # None: it is the only hub, with a store of its own
    stand_in: StandIn | None = None
    spread: Callable[[Any, Committed], None] = lambda _hub, _committed: None
    name: str = "simulated"

    @property
    def worker_id(self) -> str:
        """Under this it takes tasks over."""
        return f"hub/{self.name}"
