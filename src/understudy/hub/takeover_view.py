"""`GET /api/takeover`: how takeover stands, what it lacks, what it has spent; read from a snapshot."""

from __future__ import annotations

from msgspec import UNSET

from understudy.clock import iso
from understudy.coordinator import budget, takeover
from understudy.coordinator.calls import TEXT
from understudy.coordinator.nouns import Now
from understudy.coordinator.prices import PRICES_AT
from understudy.coordinator.takeover_nouns import OFF, Budget, Reservation, TakeoverPolicy, TakeoverState
from understudy.coordinator.utc_calendar import DAY, MONTH, next_period_at, period_of
from understudy.hub.takeover_rows import STATE_ID
from understudy.hub.views import View
from understudy.hub.working_set import CALLS_READ_MAX
from understudy.money import usd
from understudy.store.queries import OPEN_CALLS
from understudy.wire.answers.base import if_any, instant_if_any
from understudy.wire.answers.takeover import BudgetJson, CircuitJson, PeriodJson, PriceJson, TakeoverAnswer


def takeover_state(view: View) -> TakeoverState:
    """Its row, or the one that a new store has."""
    (state,) = view.reader.load_many(TakeoverState, (STATE_ID,)) or [TakeoverState()]
    return state


def takeover_answer(view: View) -> TakeoverAnswer:
    """All of it."""
    policy, now = view.policy.takeover, view.now
    state = takeover_state(view)
    calls = view.reader.find(OPEN_CALLS, limit=CALLS_READ_MAX)
    is_on = takeover.is_switched_on(policy)
    is_open = is_on and bool(state.is_open)
    return TakeoverAnswer(
        mode=policy.mode or OFF,
        sources=dict(policy.sources),
        on=is_on,
        ready=not takeover.lacks(policy),
        open=is_open,
        model=policy.model,
        has_key=policy.has_key,
        price_usd_per_mtok=PriceJson(policy.price.input, policy.price.output) if policy.price else None,
        prices_at=PRICES_AT,
        answer_tokens_max=policy.answer_tokens_max,
        paused=bool(state.paused),
        running=len(calls),
        budget=_budgets(view, policy, calls, now),
        waits_for_probe=is_on and policy.probes and _waits_for_probe(view, state),
        lacks=if_any(takeover.lacks(policy)),
        since=iso(state.since_at) if is_open else UNSET,
        stopped_by=if_any(takeover.stopped_by(policy, state)),
        circuit=_circuit(state) if state.circuit else UNSET,
    )


def _circuit(state: TakeoverState) -> CircuitJson:
    return CircuitJson(state.circuit, iso(state.circuit_at), instant_if_any(state.circuit_until_at))


def _waits_for_probe(view: View, state: TakeoverState) -> bool:
    found = takeover.opening(view.reader.daemon_groups(), TEXT, view.now, view.policy, state)
    is_due = found.at is not None and found.at <= view.now.wall
    return is_due and takeover.wants_probe(state, view.now, view.policy.takeover)


def _budgets(view: View, policy: TakeoverPolicy, calls: list[Reservation], now: Now) -> BudgetJson:
    periods = {kind: period_of(kind, now.wall) for kind in (DAY, MONTH)}
    rows = {row.period: row for row in view.reader.load_many(Budget, tuple(periods.values()))}
    reserved = budget.reserved(calls)
    day, month = (
        _period(rows.get(period) or Budget(period, kind), reserved, policy, now) for kind, period in periods.items()
    )
    return BudgetJson(usd(policy.task_micro_usd), day, month)


def _period(row: Budget, reserved: int, policy: TakeoverPolicy, now: Now) -> PeriodJson:
    limit = budget.limit_of(row.kind, policy)
    return PeriodJson(
        period=row.period,
        limit_usd=usd(limit),
        spent_usd=usd(row.spent_micro_usd),
        reserved_usd=usd(reserved),
        left_usd=usd(max(limit - row.spent_micro_usd - reserved, 0)),
        calls=row.calls,
        renews_at=iso(next_period_at(row.kind, now.wall)),
    )
