"""From settings to what the hub needs for takeover: the owner's decisions, and the way to the service."""

from __future__ import annotations

import hashlib

from understudy import config
from understudy.coordinator.prices import price_of, prices_from
from understudy.coordinator.takeover_nouns import TakeoverPolicy
from understudy.errors import ConfigError
from understudy.services.claude import ClaudeApi


def taking_over(settings: config.Settings) -> tuple[TakeoverPolicy, ClaudeApi]:
    """The policy, which holds no secret, and the service with its key. ConfigError for a price that is none."""
    try:
        own = prices_from(settings.prices)
    except ValueError as error:
        raise ConfigError(str(error)) from None
    policy = TakeoverPolicy(
        mode=settings.takeover,
        sources=settings.takeover_sources,
        has_key=bool(settings.anthropic_api_key),
        access=_access(settings),
        model=settings.takeover_model,
        price=price_of(settings.takeover_model, own),
        fallback_model=settings.takeover_fallback_model,
        fallback_price=price_of(settings.takeover_fallback_model, own),
        answer_tokens_max=settings.takeover_answer_tokens_max,
        timeout_ms=settings.takeover_timeout_ms,
        after_ms=settings.takeover_after_ms,
        task_micro_usd=settings.takeover_budget_task,
        day_micro_usd=settings.takeover_budget_day,
        month_micro_usd=settings.takeover_budget_month,
        calls_a_minute=settings.takeover_calls_a_minute,
        calls_at_once=settings.takeover_calls_at_once,
        probes=bool(settings.probe_url),
    )
    return policy, ClaudeApi(settings.anthropic_api_key, settings.anthropic_base_url)


def _access(settings: config.Settings) -> str:
    """A short hash of what a service might refuse: when it changes, calls are tried again."""
    parts = (settings.anthropic_api_key, settings.anthropic_base_url, settings.takeover_model)
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]
