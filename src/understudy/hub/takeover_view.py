"""`GET /api/takeover`: how takeover stands, what it lacks, what it has spent; read from a snapshot."""

from __future__ import annotations

from typing import Any

from understudy.clock import iso
from understudy.coordinator import budget, takeover
from understudy.coordinator.calendar import DAY, MONTH, next_period_at, period_of
from understudy.coordinator.nouns import Now
from understudy.coordinator.prices import PRICES_AT
from understudy.coordinator.takeover_nouns import OFF, Budget, Reservation, TakeoverPolicy, TakeoverState
from understudy.hub.scene import STATE_ID, TEXT
from understudy.hub.views import View
from understudy.hub.working_set import CALLS_READ_MAX


def takeover_json(view: View) -> dict[str, Any]:
    """All of it; `lacks` says in one word why the hub could not answer even if it had to."""
    policy, now = view.policy.takeover, view.now
    (state,) = view.reader.load_many(TakeoverState, (STATE_ID,)) or [TakeoverState()]
    calls = view.reader.open_calls(CALLS_READ_MAX)
    is_on = takeover.is_switched_on(policy)
    shown: dict[str, Any] = {
        "mode": policy.mode or OFF,
        "sources": dict(policy.sources),
        "on": is_on,
        "ready": not takeover.lacks(policy),
        "open": is_on and bool(state.is_open),
        "model": policy.model,
        "hasKey": policy.has_key,
        "priceUsdPerMTok": {"input": policy.price.input, "output": policy.price.output} if policy.price else None,
        "pricesAt": PRICES_AT,
        "answerTokensMax": policy.answer_tokens_max,
        "paused": bool(state.paused),
        "running": len(calls),
        "budget": _budgets(view, policy, calls, now),
        "waitsForProbe": is_on and policy.probes and _waits_for_probe(view, state),
    }
    if lacks := takeover.lacks(policy):
        shown["lacks"] = lacks
    if shown["open"]:
        shown["since"] = iso(state.since_at)
    if stopped := takeover.stopped_by(policy, state):
        shown["stoppedBy"] = stopped
    if state.circuit:
        shown["circuit"] = {"reason": state.circuit, "openedAt": iso(state.circuit_at)}
        if state.circuit_until_at:
            shown["circuit"]["untilAt"] = iso(state.circuit_until_at)
    return shown


def _waits_for_probe(view: View, state: TakeoverState) -> bool:
    found = takeover.opening(view.reader.standbys(), TEXT, view.now, view.policy)
    is_due = found.at is not None and found.at <= view.now.wall
    return is_due and takeover.wants_probe(state, view.now, view.policy.takeover)


def _budgets(view: View, policy: TakeoverPolicy, calls: list[Reservation], now: Now) -> dict[str, Any]:
    periods = {kind: period_of(kind, now.wall) for kind in (DAY, MONTH)}
    rows = {row.period: row for row in view.reader.load_many(Budget, tuple(periods.values()))}
    reserved = budget.reserved(calls)
    shown: dict[str, Any] = {"taskUsd": policy.task_micro_usd / budget.MICRO}
    for kind, period in periods.items():
        row = rows.get(period) or Budget(period, kind)
        limit = budget.limit_of(kind, policy)
        shown[kind] = {
            "period": row.period,
            "limitUsd": limit / budget.MICRO,
            "spentUsd": row.spent_micro_usd / budget.MICRO,
            "reservedUsd": reserved / budget.MICRO,
            "leftUsd": max(limit - row.spent_micro_usd - reserved, 0) / budget.MICRO,
            "calls": row.calls,
            "renewsAt": iso(next_period_at(kind, now.wall)),
        }
    return shown
