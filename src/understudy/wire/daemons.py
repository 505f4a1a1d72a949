"""Bodies about daemons: registration, both heartbeats, settings."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from understudy.wire.limits import (
    RUNNING_MAX,
    Count,
    DaemonName,
    Id,
    Name,
    ShortText,
    Text,
    Token,
    WorkerName,
)

Instant = Annotated[str, Meta(min_length=1, max_length=40)]
Provides = Annotated[list[Annotated[str, Meta(max_length=64)]], Meta(max_length=256)]


class RegisterBody(Struct, rename="camel", frozen=True):
    """An old daemon introduces itself; a longer capability list is cut, not refused."""

    daemon_id: DaemonName
    version: Annotated[str, Meta(max_length=128)]
    capabilities: Annotated[list[str], Meta(min_length=1)]
    poll_interval: Annotated[int, Meta(ge=1000, le=300_000)]
    registered_at: Instant


class OldHeartbeatBody(Struct, rename="camel", frozen=True):
    """`POST /api/daemon/heartbeat` as old daemons send it."""

    daemon_id: DaemonName
    status: Literal["healthy", "degraded", "unhealthy"]
    tasks_processed: Count
    last_heartbeat: Instant
    current_task: Text | None = None


class RunningBody(Struct, rename="camel", frozen=True):
    """One run that a daemon names in its beat: its token is what renews the lease."""

    task_id: Id
    token: Token
    progress_at: Instant | None = None
    progress: Any = None
    checkpoint: Any = None


class HeartbeatBody(Struct, rename="camel", frozen=True):
    """`POST /api/queue/heartbeat`: everything is optional, because old daemons send `{workerId}` only."""

    worker_id: WorkerName | None = None
    daemon_id: DaemonName | None = None
    machine_id: Name | None = None
    boot_id: Name | None = None
    seq: Count | None = None
    interval_sec: Annotated[float, Meta(gt=0, le=86_400)] | None = None
    version: Annotated[str, Meta(max_length=128)] | None = None
    running: Annotated[list[RunningBody], Meta(max_length=RUNNING_MAX)] | None = None
    loops: dict[str, Any] | None = None
    auth: dict[str, Any] | None = None
    capacity: Annotated[int, Meta(ge=0, le=1000)] | None = None
    provides: Provides | None = None
    state: Literal["running", "draining", "paused", "stopping"] | None = None
    slept_sec: Annotated[float, Meta(ge=0, le=1e9)] | None = None


class SleepWindow(Struct, rename={"from_": "from"}, frozen=True):
    """A daily window in which silence is expected, in the named time zone."""

    from_: Annotated[str, Meta(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")]
    to: Annotated[str, Meta(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")]
    tz: Annotated[str, Meta(max_length=64)] = "UTC"


class SettingsBody(Struct, rename="camel", frozen=True):
    """What an owner sets for one daemon; null takes the hub's default again."""

    late_after_sec: Annotated[float, Meta(ge=1, le=30 * 86_400)] | None = None
    down_after_sec: Annotated[float, Meta(ge=1, le=30 * 86_400)] | None = None
    expected_sleep: Annotated[list[SleepWindow], Meta(max_length=16)] | None = None


class PauseBody(Struct, rename="camel", frozen=True):
    """Why a daemon is paused or resumed."""

    reason: ShortText | None = None
