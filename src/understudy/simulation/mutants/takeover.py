"""Planted bugs of takeover."""

from __future__ import annotations

from contextlib import AbstractContextManager

from msgspec.structs import replace

from understudy.coordinator import budget, takeover
from understudy.coordinator.nouns import Task
from understudy.coordinator.takeover import CallOutcome
from understudy.coordinator.takeover_nouns import Reservation, TakeoverPolicy
from understudy.simulation.mutants.planting import planted
from understudy.store.base import Candidates
from understudy.store.takeover import TakeoverQueries


def takeover_too_soon() -> AbstractContextManager[None]:
    """The hub steps in for a daemon that is only late."""
    return planted((takeover, "AWAY_AT_ONCE", takeover.AWAY_AT_ONCE | {"late", "healthy"}))


def cut_calls_are_free() -> AbstractContextManager[None]:
    """A call whose answer never came is not counted, although it may be billed."""
    original = budget.cost_of

    def cost_of(call: Reservation, called: CallOutcome, policy: TakeoverPolicy) -> int:
        return 0 if called.billed == "unknown" else original(call, called, policy)

    return planted((budget, "cost_of", cost_of))


def hub_closes_machine_tasks() -> AbstractContextManager[None]:
    """Every task counts as one that words can answer."""
    original = TakeoverQueries.candidates

    def candidates(self: TakeoverQueries, wanted: Candidates, h: int) -> list[Task]:
        return original(self, replace(wanted, text=True), h) + original(self, replace(wanted, text=False), h)

    return planted((takeover, "is_for_machine", lambda _: False), (TakeoverQueries, "candidates", candidates))
