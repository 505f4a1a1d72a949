"""Every setting in one table: name, default, unit, environment name, check.

Plain dataclasses, because client commands read this in their 300 ms.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from functools import cache
from typing import Annotated, Any, get_type_hints

from understudy.config.kinds import (
    DATE,
    FLAG,
    NAME,
    PASSWORD,
    SECRET,
    TEXT,
    USD,
    WEB,
    WORDS,
    ZONE,
    Of,
    choices,
    duration,
    duration_or,
    number,
    one_of,
)

PERMISSION_MODES = ("acceptEdits", "dontAsk", "auto", "plan", "bypassPermissions")  # of `claude`
SANDBOXES = ("read-only", "workspace-write", "danger-full-access")  # of `codex`
TAKEOVER_MODES = ("off", "notify", "interim", "answer")
OLD_IN_MS = frozenset({"POLL_INTERVAL", "EXECUTION_TIMEOUT"})  # names of the first daemon, which counted in ms


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All settings; durations in ms. `_ms` is no part of a setting's name."""

    host: Annotated[str, Of("hub", TEXT)] = "127.0.0.1"
    port: Annotated[int, Of("hub", number(0, 65_535))] = 8787
    store: Annotated[str, Of("hub", TEXT)] = ""
    store_password: Annotated[str, Of("hub", PASSWORD)] = field(default="", repr=False)
    hub_name: Annotated[str, Of("hub", NAME)] = ""
    hub_drain_ms: Annotated[int, Of("hub", duration_or("auto", "0s", "10m"))] = -1
    docs: Annotated[bool, Of("hub", FLAG)] = True
    trust_user_header: Annotated[str, Of("hub", TEXT)] = ""
    trusted_proxies: Annotated[tuple[str, ...], Of("hub", WORDS)] = ()
    trusted_users: Annotated[tuple[tuple[str, str], ...], Of("hub", choices("read", "admin"))] = ()
    badge: Annotated[str, Of("hub", SECRET)] = field(default="", repr=False)
    status_page: Annotated[str, Of("hub", one_of("off", "on", "ids"))] = "off"
    rate_per_s: Annotated[int, Of("hub", number(1, 1_000_000))] = 200
    rate_burst: Annotated[int, Of("hub", number(1, 1_000_000))] = 1000

    late_after_ms: Annotated[int, Of("health", duration("100ms", "30d"))] = 180_000
    down_after_ms: Annotated[int, Of("health", duration("100ms", "30d"))] = 300_000
    heartbeat_interval_ms: Annotated[int, Of("health", duration("100ms", "1d"))] = 10_000

    lease_duration_ms: Annotated[int, Of("tasks", duration("2s", "10m"))] = 30_000
    task_timeout_ms: Annotated[int, Of("tasks", duration("1s", "7d"))] = 3_600_000
    overtime_ms: Annotated[int, Of("tasks", duration("1s", "1h"))] = 60_000
    losses_max: Annotated[int, Of("tasks", number(1, 1000))] = 5

    task_kept_ms: Annotated[int, Of("retention", duration("1h", "3650d"))] = 30 * 86_400_000
    event_kept_ms: Annotated[int, Of("retention", duration("1h", "3650d"))] = 30 * 86_400_000
    store_mb_max: Annotated[int, Of("retention", number(16, 100_000_000))] = 4096
    disk_free_mb_min: Annotated[int, Of("retention", number(0, 1_000_000))] = 256
    key_tasks_max: Annotated[int, Of("retention", number(1, 100_000_000))] = 50_000
    key_store_percent: Annotated[int, Of("retention", number(1, 100))] = 50
    events_max: Annotated[int, Of("retention", number(1000, 100_000_000))] = 1_000_000
    evidence_kept_ms: Annotated[int, Of("retention", duration("1h", "3650d"))] = 30 * 86_400_000
    period_kept_ms: Annotated[int, Of("retention", duration("1d", "3650d"))] = 400 * 86_400_000
    notice_kept_ms: Annotated[int, Of("retention", duration("1d", "3650d"))] = 30 * 86_400_000
    memory_kept_ms: Annotated[int, Of("retention", duration("1h", "3650d"))] = 90 * 86_400_000
    memory_messages_max: Annotated[int, Of("retention", number(1, 1_000_000))] = 1000
    dedup_kept_ms: Annotated[int, Of("retention", duration("1h", "3650d"))] = 7 * 86_400_000

    hub: Annotated[str, Of("daemon", TEXT, ("UNDERSTUDY_HUB", "WORKERS_URL"))] = ""
    daemon_id: Annotated[str, Of("daemon", TEXT, ("UNDERSTUDY_DAEMON_ID", "WORKER_ID"))] = ""
    capacity: Annotated[int, Of("daemon", number(1, 256))] = 1
    provides: Annotated[tuple[str, ...], Of("daemon", WORDS)] = ("machine",)
    poll_wait_ms: Annotated[int, Of("daemon", duration("0s", "60s"), ("UNDERSTUDY_POLL_WAIT", "POLL_INTERVAL"))] = (
        15_000
    )
    drain_ms: Annotated[int, Of("daemon", duration("0s", "1d"))] = 20_000
    task_cwd: Annotated[str, Of("daemon", TEXT, ("UNDERSTUDY_TASK_CWD", "WORK_DIR"))] = ""
    task_env_pass: Annotated[tuple[str, ...], Of("daemon", WORDS)] = ()
    ca_file: Annotated[str, Of("daemon", TEXT)] = ""
    hub_away_after_ms: Annotated[int, Of("daemon", duration("0s", "7d"))] = 300_000
    allow_update: Annotated[bool, Of("daemon", FLAG)] = True
    update_confirm_ms: Annotated[int, Of("daemon", duration("1s", "10m"))] = 60_000
    caffeinate: Annotated[str, Of("daemon", one_of("ac-only", "always", "never"))] = "ac-only"
    token_issued_at: Annotated[str, Of("daemon", DATE)] = ""

    executor: Annotated[str, Of("executors", one_of("auto", "claude_code", "codex", "command", "diagnostic"))] = "auto"
    workspaces: Annotated[str, Of("executors", TEXT)] = ""
    execution_timeout_ms: Annotated[
        int, Of("executors", duration("0s", "7d"), ("UNDERSTUDY_EXECUTION_TIMEOUT", "EXECUTION_TIMEOUT"))
    ] = 0
    execution_start_ms: Annotated[int, Of("executors", duration("100ms", "10m"))] = 30_000
    execution_idle_ms: Annotated[int, Of("executors", duration("1s", "1d"))] = 600_000
    owner_settings: Annotated[bool, Of("executors", FLAG)] = True
    claude_cli: Annotated[str, Of("executors", TEXT)] = "claude"
    claude_permission_mode: Annotated[str, Of("executors", one_of(*PERMISSION_MODES))] = "acceptEdits"
    claude_allowed_tools: Annotated[str, Of("executors", TEXT)] = ""
    claude_model: Annotated[str, Of("executors", TEXT)] = ""
    claude_budget_usd: Annotated[str, Of("executors", TEXT)] = ""
    codex_cli: Annotated[str, Of("executors", TEXT, ("UNDERSTUDY_CODEX_CLI", "CODEX_CLI"))] = "codex"
    codex_sandbox: Annotated[str, Of("executors", one_of(*SANDBOXES))] = "workspace-write"
    codex_model: Annotated[str, Of("executors", TEXT)] = ""
    prices: Annotated[tuple[str, ...], Of("executors", WORDS)] = ()

    notification_type: Annotated[tuple[str, ...], Of("notices", WORDS, ("NOTIFICATION_TYPE",))] = ()
    slack_bot_token: Annotated[str, Of("notices", SECRET, ("SLACK_BOT_TOKEN",))] = field(default="", repr=False)
    slack_channel_id: Annotated[str, Of("notices", TEXT, ("SLACK_CHANNEL_ID",))] = ""
    slack_webhook_url: Annotated[str, Of("notices", SECRET, ("SLACK_WEBHOOK_URL",))] = field(default="", repr=False)
    discord_webhook_url: Annotated[str, Of("notices", SECRET, ("DISCORD_WEBHOOK_URL",))] = field(default="", repr=False)
    telegram_bot_token: Annotated[str, Of("notices", SECRET, ("TELEGRAM_BOT_TOKEN",))] = field(default="", repr=False)
    telegram_chat_id: Annotated[str, Of("notices", TEXT, ("TELEGRAM_CHAT_ID",))] = ""
    ntfy_url: Annotated[str, Of("notices", TEXT, ("NTFY_URL",))] = ""
    ntfy_token: Annotated[str, Of("notices", PASSWORD, ("NTFY_TOKEN",))] = field(default="", repr=False)
    smtp_url: Annotated[str, Of("notices", TEXT, ("SMTP_URL",))] = ""
    smtp_password: Annotated[str, Of("notices", PASSWORD, ("SMTP_PASSWORD",))] = field(default="", repr=False)
    smtp_from: Annotated[str, Of("notices", TEXT, ("SMTP_FROM",))] = ""
    smtp_to: Annotated[str, Of("notices", TEXT, ("SMTP_TO",))] = ""
    webhook_url: Annotated[str, Of("notices", SECRET)] = field(default="", repr=False)
    webhook_secret: Annotated[str, Of("notices", PASSWORD)] = field(default="", repr=False)
    webhook_format: Annotated[str, Of("notices", one_of("plain", "pagerduty", "teams", "alertmanager"))] = "plain"
    apprise_urls: Annotated[str, Of("notices", SECRET, ("APPRISE_URL", "APPRISE_URLS"))] = field(default="", repr=False)
    reply_to: Annotated[str, Of("notices", TEXT)] = ""
    public_url: Annotated[str, Of("notices", WEB)] = ""
    time_zone: Annotated[str, Of("notices", ZONE)] = ""
    quiet_hours: Annotated[str, Of("notices", TEXT)] = ""
    remind_after_ms: Annotated[int, Of("notices", duration("0s", "30d"))] = 6 * 3_600_000
    watchdog_url: Annotated[str, Of("notices", SECRET)] = field(default="", repr=False)
    watchdog_interval_ms: Annotated[int, Of("notices", duration("1s", "1d"))] = 60_000

    takeover: Annotated[str, Of("takeover", one_of(*TAKEOVER_MODES))] = ""
    takeover_sources: Annotated[tuple[tuple[str, str], ...], Of("takeover", choices(*TAKEOVER_MODES))] = ()
    anthropic_api_key: Annotated[str, Of("takeover", SECRET, ("ANTHROPIC_API_KEY",))] = field(default="", repr=False)
    anthropic_base_url: Annotated[str, Of("takeover", WEB, ("ANTHROPIC_BASE_URL",))] = "https://api.anthropic.com"
    takeover_model: Annotated[str, Of("takeover", TEXT)] = "claude-haiku-5-5"
    takeover_fallback_model: Annotated[str, Of("takeover", TEXT)] = ""
    takeover_answer_tokens_max: Annotated[int, Of("takeover", number(1, 8192))] = 4096
    takeover_timeout_ms: Annotated[int, Of("takeover", duration("1s", "10m"))] = 60_000
    takeover_after_ms: Annotated[int, Of("takeover", duration("1s", "30d"))] = 900_000
    takeover_budget_task: Annotated[int, Of("takeover", USD)] = 50_000
    takeover_budget_day: Annotated[int, Of("takeover", USD)] = 1_000_000
    takeover_budget_month: Annotated[int, Of("takeover", USD)] = 10_000_000
    takeover_calls_a_minute: Annotated[int, Of("takeover", number(1, 1000))] = 10
    takeover_calls_at_once: Annotated[int, Of("takeover", number(1, 16))] = 2
    probe_url: Annotated[str, Of("takeover", WEB)] = ""

    log_level: Annotated[str, Of("log", one_of("debug", "info", "warning", "critical"))] = "info"
    log_form: Annotated[str, Of("log", one_of("pretty", "json"))] = "pretty"
    log_dir: Annotated[str, Of("log", TEXT, ("UNDERSTUDY_LOG_DIR", "LOG_DIR"))] = ""
    log_stderr: Annotated[bool, Of("log", FLAG)] = True
    redact_results: Annotated[bool, Of("log", FLAG)] = True

    api_key: Annotated[str, Of("keys", SECRET)] = field(default="", repr=False)
    assistant_api_key: Annotated[str, Of("keys", SECRET, ("ASSISTANT_API_KEY",))] = field(default="", repr=False)
    queue_api_key: Annotated[str, Of("keys", SECRET, ("QUEUE_API_KEY",))] = field(default="", repr=False)
    workers_api_key: Annotated[str, Of("keys", SECRET, ("WORKERS_API_KEY",))] = field(default="", repr=False)
    admin_api_key: Annotated[str, Of("keys", SECRET, ("ADMIN_API_KEY",))] = field(default="", repr=False)


# Read from the environment only: where the file is, and what concerns a terminal rather than a program.
ENVIRONMENT_ONLY = (
    "UNDERSTUDY_DATA",
    "UNDERSTUDY_CONFIG",
    "UNDERSTUDY_ENV_FILE",
    "UNDERSTUDY_LANG",
    "UNDERSTUDY_DEBUG",
)
# what a run of ours carries, and what crash tests set
INTERNAL = frozenset({"UNDERSTUDY_RUN_ID", "UNDERSTUDY_TASK_ID", "UNDERSTUDY_FAIL_POINT_FILE"})


@dataclass(frozen=True, slots=True)
class Setting:
    """One line of the table."""

    name: str
    attribute: str
    of: Of
    default: Any

    @property
    def env(self) -> tuple[str, ...]:
        """Its names in the environment, the first one is the one to show."""
        return self.of.env or (f"UNDERSTUDY_{self.name.upper()}",)

    @property
    def is_secret(self) -> bool:
        """True if its value is never shown."""
        return self.of.kind in (SECRET, PASSWORD)


@cache
def table() -> dict[str, Setting]:
    """Every setting by name, in the order above."""
    hints = get_type_hints(Settings, include_extras=True)
    rows = (
        Setting(f.name.removesuffix("_ms"), f.name, hints[f.name].__metadata__[0], f.default)
        for f in dataclasses.fields(Settings)
    )
    return {row.name: row for row in rows}
