"""Retention: how long each kind of row is kept, and how many of it at most."""

from __future__ import annotations

from understudy.coordinator.nouns import Policy

BOOTS_KEPT_MS = 400 * 86_400_000
EVIDENCE_MAX = 10_000
INCIDENTS_MAX = 100_000
DEPLOYMENTS_MAX = 1_000
NOTICES_MAX = 200_000
BUDGETS_MAX = 1_000
PERIODS_MAX = 500_000
BOOTS_MAX = 100_000
SAMPLES_KEPT_MS = 31 * 86_400_000
SAMPLES_MAX = 50_000  # of one a minute
SESSIONS_MAX = 1_000
REVOKED_KEYS_MAX = 10_000


def purge_plan(policy: Policy, wall: int) -> list[tuple[str, int]]:
    """Each kind with its bound: an instant, or a number of rows to keep; 0 for what is empty."""
    return [
        ("usage", 0),
        ("dedup", wall - policy.dedup_kept_ms),
        ("task", wall - max(policy.task_kept_ms, policy.dedup_kept_ms)),
        ("event", wall - policy.event_kept_ms),
        ("event_overflow", policy.events_max),
        ("evidence", wall - policy.evidence_kept_ms),
        ("period", wall - policy.period_kept_ms),
        ("sample", wall - SAMPLES_KEPT_MS),
        ("sample_overflow", SAMPLES_MAX),
        ("boot", wall - BOOTS_KEPT_MS),
        ("reservation", wall - policy.period_kept_ms),
        ("directive", wall - policy.event_kept_ms),
        ("notice", wall - policy.notice_kept_ms),
        ("api_key", wall - policy.period_kept_ms),
        ("api_key_overflow", REVOKED_KEYS_MAX),
        ("link", wall),
        ("session", wall),
        ("session_overflow", SESSIONS_MAX),
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
