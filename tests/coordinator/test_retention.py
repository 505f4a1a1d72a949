"""How long each kind of row is kept, on values."""

from __future__ import annotations

from understudy.coordinator.nouns import Policy
from understudy.coordinator.retention import purge_plan

WALL = 1_770_000_000_000


def test_a_task_is_kept_at_least_as_long_as_its_idempotency_key() -> None:
    plan = dict(purge_plan(Policy(task_kept_ms=5, dedup_kept_ms=9), WALL))
    assert (plan["task"], plan["dedup"]) == (WALL - 9, WALL - 9)


def test_what_comes_from_outside_is_bounded_by_number_as_well_as_by_age() -> None:
    plan = dict(purge_plan(Policy(), WALL))
    for kind in ("event", "evidence", "incident", "notice", "period", "boot", "memory"):
        assert plan[kind] > 1_000_000_000_000, kind  # an instant
        assert 0 < plan[f"{kind}_overflow"] <= 1_000_000, kind  # a number of rows
