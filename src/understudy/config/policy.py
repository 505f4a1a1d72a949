"""From settings to what a hub is given: the rules' policy, its channels, the service that takes over.

Nothing here needs the command line: any host of a hub begins with `hub_inputs`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import msgspec
from msgspec import Struct

from understudy import __version__
from understudy.addresses import is_loopback, is_web_address
from understudy.config.channels import notes_of, notices_of
from understudy.config.reading import secrets_in
from understudy.config.shown import SettingShown
from understudy.config.table import Settings
from understudy.coordinator.nouns import Policy
from understudy.coordinator.prices import Price, price_of, prices_from
from understudy.coordinator.routes import Routes
from understudy.coordinator.takeover_nouns import TakeoverPolicy
from understudy.errors import ConfigError
from understudy.notify.base import ChannelSettings
from understudy.redact import secrets_of
from understudy.services.claude import ClaudeApi
from understudy.texts import t

DRAIN_S = 5.0  # two looks of a proxy that looks every two seconds


class HubInputs(Struct, frozen=True):
    """Everything that a hub is given; it reads neither environment nor files of settings later."""

    settings: Settings = Settings()
    data_dir: Path = Path()
    environment_keys: dict[str, str] = {}
    policy: Policy = Policy()
    channels: tuple[ChannelSettings, ...] = ()
    claude: ClaudeApi = ClaudeApi("")
    secrets: tuple[str, ...] = ()  # values that no line, event, notice or result may contain
    shown: tuple[SettingShown, ...] = ()  # the settings as people may see them
    notes: tuple[str, ...] = ()  # what was adapted or looks wrong, where no command says it
    fail_point_file: str = ""  # crash tests: pause before COMMIT while this file exists


def hub_inputs(
    settings: Settings, environ: Mapping[str, str], data_dir: Path, environment_keys: dict[str, str]
) -> HubInputs:
    """The inputs of a hub from these settings. ConfigError for impossible ones."""
    if settings.watchdog_url and not is_web_address(settings.watchdog_url):
        raise ConfigError(f"UNDERSTUDY_WATCHDOG_URL: {t('config.not_an_address')}")
    channels, routes = notices_of(settings, environ, data_dir)
    hidden = (part for channel in channels for part in (channel.address, *channel.secrets))
    return HubInputs(
        settings,
        data_dir,
        environment_keys,
        policy_of(settings, routes),
        channels,
        claude_of(settings),
        (*environment_keys.values(), *hidden, *secrets_in(settings), *secrets_of(environ)),
        notes=notes_of(settings, routes),
        fail_point_file=environ.get("UNDERSTUDY_FAIL_POINT_FILE", ""),
    )


def fingerprint_of(given: HubInputs) -> str:
    """A short hash of what decides this hub's behaviour, without any secret."""
    own = given.settings
    shown = (given.policy, own.rate_per_s, own.rate_burst, own.store, __version__, *given.notes)
    return hashlib.sha256(msgspec.json.encode(shown)).hexdigest()[:12]


def policy_of(settings: Settings, routes: Routes) -> Policy:
    """The policy that rules are given; it contains no secret. ConfigError for a malformed price."""
    return Policy(
        lease_ms=settings.lease_duration_ms,
        late_after_ms=settings.late_after_ms,
        down_after_ms=settings.down_after_ms,
        losses_max=settings.losses_max,
        overtime_ms=settings.overtime_ms,
        timeout_s=settings.task_timeout_ms // 1000,
        heartbeat_interval_ms=settings.heartbeat_interval_ms,
        task_kept_ms=settings.task_kept_ms,
        event_kept_ms=settings.event_kept_ms,
        events_max=settings.events_max,
        store_bytes_max=settings.store_mb_max << 20,
        key_tasks_max=settings.key_tasks_max,
        key_bytes_max=(settings.store_mb_max << 20) * settings.key_store_percent // 100,
        disk_free_bytes_min=settings.disk_free_mb_min << 20,
        evidence_kept_ms=settings.evidence_kept_ms,
        period_kept_ms=settings.period_kept_ms,
        memory_kept_ms=settings.memory_kept_ms,
        memory_messages_max=settings.memory_messages_max,
        dedup_kept_ms=settings.dedup_kept_ms,
        notice_kept_ms=settings.notice_kept_ms,
        routes=routes,
        takeover=takeover_of(settings),
    )


def takeover_of(settings: Settings) -> TakeoverPolicy:
    """The owner's policy of takeover; it contains no secret. ConfigError for a malformed price."""
    own = prices_of(settings)
    return TakeoverPolicy(
        mode=settings.takeover,
        sources=settings.takeover_sources,
        has_key=bool(settings.anthropic_api_key),
        access=_access(settings, settings.takeover_model),
        model=settings.takeover_model,
        price=price_of(settings.takeover_model, own),
        fallback_model=settings.takeover_fallback_model,
        fallback_access=_access(settings, settings.takeover_fallback_model) if settings.takeover_fallback_model else "",
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


def hub_drain_s(settings: Settings, *, is_public: bool = False) -> float:
    """The time for which a hub that is stopping still serves: none where only this machine can ask.

    `is_public`: perhaps an option of the command line will name another host.
    """
    if settings.hub_drain_ms < 0:
        return 0.0 if is_loopback(settings.host) and not is_public else DRAIN_S
    return settings.hub_drain_ms / 1000


def prices_of(settings: Settings) -> dict[str, Price]:
    """By model, those of the owner before ours. ConfigError for one that is malformed."""
    try:
        return prices_from(settings.prices)
    except ValueError as error:
        raise ConfigError(f"prices: {error}") from None


def claude_of(settings: Settings) -> ClaudeApi:
    """The service that takes over, with its key."""
    return ClaudeApi(settings.anthropic_api_key, settings.anthropic_base_url)


def _access(settings: Settings, model: str) -> str:
    """A short hash of what a service might refuse: when it changes, calls are tried again."""
    parts = (settings.anthropic_api_key, settings.anthropic_base_url, model)
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]
