"""The budget of takeover: integer micro-USD, reserved before each call and settled after it.

At every instant `spent + reserved ≤ limit` for each task, day and month (UTC). A call that was cut counts as
spent to its last reserved micro-USD, because its true cost is unknown.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from msgspec.structs import replace

from understudy.coordinator.changes import Change
from understudy.coordinator.nouns import Now
from understudy.coordinator.prices import cost_micro_usd
from understudy.coordinator.takeover import CallOutcome, price_for, takeover_event
from understudy.coordinator.takeover_nouns import Budget, Reservation, TakeoverPolicy
from understudy.coordinator.utc_calendar import DAY, MONTH
from understudy.money import total, usd, usd_text

SHARES = ((100, "budget.spent", "critical"), (80, "budget.most", "warning"), (50, "budget.half", "warning"))


def limit_of(kind: str, policy: TakeoverPolicy) -> int:
    """Micro-USD for a day or a month."""
    return policy.day_micro_usd if kind == DAY else policy.month_micro_usd


def reserved(calls: Iterable[Reservation]) -> int:
    """The micro-USD that open calls may still cost; they count in the day in which they end."""
    return sum(call.reserved_micro_usd for call in calls if not call.settled_at)


def lacking(budgets: Mapping[str, Budget], open_micro_usd: int, worst: int, policy: TakeoverPolicy) -> str:
    """The period, day or month, that cannot bear a call of this worst case; "" if both can."""
    for kind in (MONTH, DAY):
        if budgets[kind].spent_micro_usd + open_micro_usd + worst > limit_of(kind, policy):
            return kind
    return ""


def cost_of(call: Reservation, called: CallOutcome, policy: TakeoverPolicy) -> int:
    """The cost of a call in micro-USD: all that was reserved if the true cost is unknown."""
    if called.billed == "nothing":
        return 0
    price = price_for(policy, call.model)
    if called.billed == "unknown" or price is None:
        return call.reserved_micro_usd
    return cost_micro_usd(price, called.tokens)


def settled(call: Reservation, spent: int, outcome: str, now: Now) -> Reservation:
    """The call with its cost; for good."""
    return replace(call, settled_at=now.wall, spent_micro_usd=spent, outcome=outcome)


def spend(
    budgets: Mapping[str, Budget], micro_usd: int, calls: int, now: Now, policy: TakeoverPolicy
) -> tuple[Change[Budget], ...]:
    """The budgets after this spending; half, most and all of a budget make one event each."""
    after = [
        replace(row, spent_micro_usd=total(row.spent_micro_usd, micro_usd), calls=row.calls + calls)
        for row in budgets.values()
    ]
    return tuple(tell(row, _share(row, policy), now, policy) for row in after)


def exhausted(row: Budget, now: Now, policy: TakeoverPolicy) -> Change[Budget]:
    """A call was refused because of this budget: it is spent, although a few micro-USD may be left."""
    return tell(row, 100, now, policy)


def reported(row: Budget, policy: TakeoverPolicy) -> int:
    """The highest share that was reported of the present limit: of one that was raised since, none."""
    return row.reported_share if row.reported_limit >= limit_of(row.kind, policy) else 0


def _share(row: Budget, policy: TakeoverPolicy) -> int:
    limit = limit_of(row.kind, policy)
    return row.spent_micro_usd * 100 // limit if limit else 100


def tell(row: Budget, share: int, now: Now, policy: TakeoverPolicy) -> Change[Budget]:
    """The row, and one event for the highest mark that was passed and not yet reported in this period."""
    limit, so_far = limit_of(row.kind, policy), reported(row, policy)
    for mark, name, level in SHARES:
        if share >= mark > so_far:
            event = takeover_event(
                now,
                name,
                f"Takeover has spent {usd_text(row.spent_micro_usd)} of {usd_text(limit)} USD this {row.kind}",
                level,
                period=row.kind,
                of=row.period,
                spentUsd=usd(row.spent_micro_usd),
                limitUsd=usd(limit),
                share=mark,
            )
            return Change(replace(row, reported_share=mark, reported_limit=limit), (), (event,))
    return Change(row)
