"""How takeover stands, as a value: it is open, and answers."""

from __future__ import annotations

from typing import Any

from understudy.coordinator.calls import TakeoverView
from understudy.coordinator.nouns import Now, Policy, Task
from understudy.coordinator.prices import Price
from understudy.coordinator.takeover_nouns import Budget, DaemonGroup, Reservation, TakeoverPolicy, TakeoverState

NOW = Now(1_770_000_000_000, 1_770_000_000_000)
AWAY_SINCE = NOW.wall - 60_000
AWAY = DaemonGroup("down", '["machine"]', "[]", 0, 1, "mini", AWAY_SINCE, 1, AWAY_SINCE)
HERE = DaemonGroup("healthy", '["machine"]', "[]", 0, 1, "mini", 1, 1, NOW.wall)
TASK = Task("t", needs="[]")


def view(
    *calls: Reservation, state: TakeoverState | None = None, standby: DaemonGroup = AWAY, **decided: Any
) -> TakeoverView:
    chosen = {"mode": "answer", "has_key": True, "model": "m", "price": Price(1, 5), "answer_tokens_max": 1_000}
    policy = Policy(takeover=TakeoverPolicy(**(chosen | decided)))
    budgets = {"day": Budget("2026-02-02", "day"), "month": Budget("2026-02", "month")}
    return TakeoverView(policy, state or TakeoverState(), budgets, calls, (standby,))


def call(task_id: str = "t", token: int = 0, micro_usd: int = 500) -> Reservation:
    return Reservation(f"call-{task_id}", task_id, token, "hub", "m", micro_usd, NOW.h + 90_000, NOW.wall)
