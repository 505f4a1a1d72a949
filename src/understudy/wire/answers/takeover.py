"""The answer about takeover."""

from __future__ import annotations

from msgspec import UNSET, UnsetType, field

from understudy.wire.answers.base import Answer, Instant


class PriceJson(Answer, frozen=True):
    """USD a million tokens."""

    input: float
    output: float


class PeriodJson(Answer, frozen=True):
    """The limit and the spending of a day or month (UTC)."""

    period: str
    limit_usd: float
    spent_usd: float
    reserved_usd: float
    left_usd: float
    calls: int
    renews_at: Instant


class BudgetJson(Answer, frozen=True):
    """The limits of spending, for one task and in all."""

    task_usd: float
    day: PeriodJson
    month: PeriodJson


class CircuitJson(Answer, frozen=True):
    """The reason why no calls are made, and until when if that is known."""

    reason: str
    opened_at: Instant
    until_at: Instant | UnsetType = UNSET


class TakeoverAnswer(Answer, frozen=True):
    """The state of takeover; `lacks` says in one word why the hub could not answer even if it had to."""

    mode: str
    sources: dict[str, str]
    on: bool
    ready: bool
    open: bool
    model: str
    has_key: bool
    price_usd_per_mtok: PriceJson | None = field(name="priceUsdPerMTok")
    prices_at: str
    answer_tokens_max: int
    paused: bool
    running: int
    budget: BudgetJson
    waits_for_probe: bool
    lacks: str | UnsetType = UNSET
    since: Instant | UnsetType = UNSET
    stopped_by: str | UnsetType = UNSET
    circuit: CircuitJson | UnsetType = UNSET
