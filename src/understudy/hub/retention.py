"""Retention: what is older than the owner wants goes, in small commits."""

from __future__ import annotations

from understudy.coordinator.changes import Decision, Removal
from understudy.coordinator.nouns import Now, Policy
from understudy.hub.operation import HEAVY, Operation
from understudy.hub.working_set import WorkingSet

ROWS_A_COMMIT = 500
BOOTS_KEPT_MS = 400 * 86_400_000
EVIDENCE_MAX = 10_000
INCIDENTS_MAX = 100_000
DEPLOYMENTS_MAX = 1_000
NOTICES_MAX = 200_000
BUDGETS_MAX = 1_000
PERIODS_MAX = 500_000
BOOTS_MAX = 100_000


def purge_plan(policy: Policy, wall: int) -> list[tuple[str, int]]:
    """Each kind with its bound: an instant, or a number of rows to keep."""
    return [
        ("dedup", wall - policy.dedup_kept_ms),
        ("task", wall - max(policy.task_kept_ms, policy.dedup_kept_ms)),
        ("event", wall - policy.event_kept_ms),
        ("event_overflow", policy.events_max),
        ("evidence", wall - policy.evidence_kept_ms),
        ("period", wall - policy.period_kept_ms),
        ("boot", wall - BOOTS_KEPT_MS),
        ("reservation", wall - policy.period_kept_ms),
        ("directive", wall - policy.event_kept_ms),
        ("notice", wall - policy.notice_kept_ms),
        ("link", wall),
        ("evidence_overflow", EVIDENCE_MAX),
        ("incident", wall - policy.period_kept_ms),
        ("incident_overflow", INCIDENTS_MAX),
        ("deployment_overflow", DEPLOYMENTS_MAX),
        ("notice_overflow", NOTICES_MAX),
        ("budget_overflow", BUDGETS_MAX),
        ("period_overflow", PERIODS_MAX),
        ("boot_overflow", BOOTS_MAX),
        ("memory", wall - policy.memory_kept_ms),
        ("memory_overflow", policy.memory_messages_max),
    ]


class Purge(Operation):
    """Remove one portion of one kind; the answer says whether it was a full one."""

    weight = HEAVY

    def __init__(self, what: str, before: int) -> None:
        self.what = what
        self.before = before

    def decide(self, work: WorkingSet, now: Now) -> Decision:
        """Once all else of the batch is saved."""
        return Decision(Removal(self.what, self.before, ROWS_A_COMMIT))
