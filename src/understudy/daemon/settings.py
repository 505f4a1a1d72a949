"""What a daemon must be told to live; the CLI fills it in from configuration."""

from __future__ import annotations

from pathlib import Path

import msgspec


class DaemonSettings(msgspec.Struct, frozen=True, kw_only=True):
    """All settings of one daemon; durations in ms."""

    hub_url: str
    api_key: str
    data_dir: Path
    daemon_id: str = ""  # "": from the host name
    command: tuple[str, ...] = ()  # argv of the executor `command`; empty: `diagnostic` takes all tasks
    command_cwd: str | None = None
    capacity: int = 1
    provides: tuple[str, ...] = ("machine",)
    heartbeat_interval_ms: int = 10_000
    poll_wait_ms: int = 15_000
    drain_ms: int = 20_000
    ca_file: str = ""  # CA certificates for https; empty: the system's
    env_pass: tuple[str, ...] = ()  # further names a run may see (UNDERSTUDY_TASK_ENV_PASS)
    secrets: tuple[str, ...] = ()  # values that no run and no log line may contain, besides the key
    log_level: str = "info"
    log_form: str = "pretty"  # or json
