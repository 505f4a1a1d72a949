"""What a daemon must be told to live; the CLI fills it in from configuration."""

from __future__ import annotations

from pathlib import Path

import msgspec

from understudy.config.channels import ChannelTable
from understudy.worker.executors.claude_code import ClaudeOptions
from understudy.worker.executors.codex import CodexOptions


class DaemonSettings(msgspec.Struct, frozen=True, kw_only=True):
    """All settings of one daemon; durations in ms."""

    hub_url: str
    api_key: str
    data_dir: Path
    daemon_id: str = ""  # "": from the host name
    executor: str = "auto"  # which one takes the tasks that name none
    command: tuple[str, ...] = ()  # argv of the executor `command`; empty: there is none
    command_cwd: str | None = None  # WORK_DIR: where tasks run that name no workspace
    workspaces: str = ""  # the directory that holds the named workspaces
    claude: ClaudeOptions = ClaudeOptions()
    codex: CodexOptions = CodexOptions()
    run_ms_max: int = 0  # no run is longer; 0: the task alone decides
    capacity: int = 1
    hub_away_ms: int = 300_000  # the owner is told when the hub was out of reach for so long; 0: never
    channels: tuple[ChannelTable, ...] = ()  # by which it is told, past the hub
    provides: tuple[str, ...] = ("machine",)
    heartbeat_interval_ms: int = 10_000
    poll_wait_ms: int = 15_000
    drain_ms: int = 20_000
    token_ends_at: int = 0  # wall clock, of the assistant's token; 0: nobody knows
    may_update: bool = True  # whether the directive `update` is heeded
    update_confirm_ms: int = 60_000  # until a new version must have had a beat accepted
    caffeinate: str = "ac-only"  # or always, never: whether a Mac is held awake while a task runs
    ca_file: str = ""  # CA certificates for https; empty: the system's
    env_pass: tuple[str, ...] = ()  # further names a run may see (UNDERSTUDY_TASK_ENV_PASS)
    secrets: tuple[str, ...] = ()  # values that no run and no log line may contain, besides the key
    redacts_results: bool = True  # by form too, not only what is known by value
    log_level: str = "info"
    log_form: str = "pretty"  # or json
    log_stderr: bool = True  # whether the log goes to stderr too if it is kept in log_dir
    log_dir: str = ""  # where `daemon.log` is kept too; "": nowhere
