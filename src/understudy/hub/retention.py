"""Retention: removes what is older than the owner wants, in small commits."""

from __future__ import annotations

from understudy.coordinator.changes import Decision, Removal
from understudy.coordinator.nouns import Now
from understudy.hub.operation import HEAVY, Operation
from understudy.hub.working_set import WorkingSet

ROWS_A_COMMIT = 500


class PurgeRows(Operation):
    """Remove one portion of one kind; the answer says whether it was a full one."""

    weight = HEAVY

    def __init__(self, what: str, before: int) -> None:
        self.what = what
        self.before = before

    def decide(self, work: WorkingSet, now: Now) -> Decision:
        """Once all else of the batch is saved."""
        return Decision(Removal(self.what, self.before, ROWS_A_COMMIT))
