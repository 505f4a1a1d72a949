"""Every setting in one table: name, default, unit, environment name, check.

Plain dataclasses, because client commands read this in their 300 ms.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from functools import cache
from typing import Annotated, Any, get_type_hints

from understudy.config.kinds import FLAG, SECRET, TEXT, WORDS, Of, duration, number, one_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All settings; durations in ms. `_ms` is no part of a setting's name."""

    host: Annotated[str, Of("hub", TEXT)] = "127.0.0.1"
    port: Annotated[int, Of("hub", number(0, 65_535))] = 8787
    store: Annotated[str, Of("hub", TEXT)] = ""
    docs: Annotated[bool, Of("hub", FLAG)] = True
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
    events_max: Annotated[int, Of("retention", number(1000, 100_000_000))] = 1_000_000
    evidence_kept_ms: Annotated[int, Of("retention", duration("1h", "3650d"))] = 30 * 86_400_000
    period_kept_ms: Annotated[int, Of("retention", duration("1d", "3650d"))] = 400 * 86_400_000
    memory_kept_ms: Annotated[int, Of("retention", duration("1h", "3650d"))] = 90 * 86_400_000
    memory_messages_max: Annotated[int, Of("retention", number(1, 1_000_000))] = 1000
    dedup_kept_ms: Annotated[int, Of("retention", duration("1h", "3650d"))] = 7 * 86_400_000

    hub: Annotated[str, Of("daemon", TEXT, ("UNDERSTUDY_HUB", "WORKERS_URL"))] = ""
    daemon_id: Annotated[str, Of("daemon", TEXT)] = ""
    capacity: Annotated[int, Of("daemon", number(1, 256))] = 1
    provides: Annotated[tuple[str, ...], Of("daemon", WORDS)] = ("machine",)
    poll_wait_ms: Annotated[int, Of("daemon", duration("0s", "60s"))] = 15_000
    drain_ms: Annotated[int, Of("daemon", duration("0s", "1d"))] = 20_000
    task_cwd: Annotated[str, Of("daemon", TEXT)] = ""
    task_env_pass: Annotated[tuple[str, ...], Of("daemon", WORDS)] = ()
    ca_file: Annotated[str, Of("daemon", TEXT)] = ""

    log_level: Annotated[str, Of("log", one_of("debug", "info", "warning", "critical"))] = "info"
    log_form: Annotated[str, Of("log", one_of("pretty", "json"))] = "pretty"

    api_key: Annotated[str, Of("keys", SECRET)] = field(default="", repr=False)
    assistant_api_key: Annotated[str, Of("keys", SECRET, ("ASSISTANT_API_KEY",))] = field(default="", repr=False)
    queue_api_key: Annotated[str, Of("keys", SECRET, ("QUEUE_API_KEY",))] = field(default="", repr=False)
    workers_api_key: Annotated[str, Of("keys", SECRET, ("WORKERS_API_KEY",))] = field(default="", repr=False)
    admin_api_key: Annotated[str, Of("keys", SECRET, ("ADMIN_API_KEY",))] = field(default="", repr=False)


# Read from the environment only: where the file is, and what concerns a terminal rather than a program.
ENVIRONMENT_ONLY = ("UNDERSTUDY_DATA", "UNDERSTUDY_CONFIG", "UNDERSTUDY_LANG", "UNDERSTUDY_DEBUG")
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
        """Whether its value is never shown."""
        return self.of.kind is SECRET


@cache
def table() -> dict[str, Setting]:
    """Every setting by name, in the order above."""
    hints = get_type_hints(Settings, include_extras=True)
    rows = (
        Setting(f.name.removesuffix("_ms"), f.name, hints[f.name].__metadata__[0], f.default)
        for f in dataclasses.fields(Settings)
    )
    return {row.name: row for row in rows}
