"""Bodies about daemons: registration, both heartbeats, settings."""

from __future__ import annotations

from itertools import islice
from typing import Annotated, Any, ClassVar, Literal

import msgspec
from msgspec import Meta, Struct

from understudy.wire.limits import (
    DIRECTIVES_MAX,
    PART_BYTES_MAX,
    PARTS_BYTES_MAX,
    PARTS_MAX,
    RUNNING_MAX,
    SHA256_PATTERN,
    TAG_CHARS_MAX,
    TIME_OF_DAY_PATTERN,
    VERSION_PATTERN,
    Count,
    DaemonName,
    Id,
    Name,
    ShortText,
    Text,
    Token,
    WorkerName,
    whole,
)

Instant = Annotated[str, Meta(min_length=1, max_length=40)]
Seconds = Annotated[float, Meta(ge=0, le=1e9)]
Provides = Annotated[list[Annotated[str, Meta(max_length=64)]], Meta(max_length=256)]


class RegisterBody(Struct, rename="camel", frozen=True):
    """An old daemon introduces itself; a longer capability list is cut, not refused."""

    heals_nul: ClassVar[bool] = True
    daemon_id: DaemonName
    version: Annotated[str, Meta(max_length=128)]
    capabilities: Annotated[list[str], Meta(min_length=1)]
    poll_interval: Annotated[int, Meta(ge=1000, le=300_000)]
    registered_at: Instant


class LegacyHeartbeatBody(Struct, rename="camel", frozen=True):
    """`POST /api/daemon/heartbeat` as old daemons send it."""

    heals_nul: ClassVar[bool] = True
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
    idle_sec: Seconds | None = None  # since its last sign, counted by the daemon while it was awake and heard
    idle_limit_sec: Seconds | None = None  # beyond that the run should have been ended
    progress: Any = None
    checkpoint: Any = None


class DirectiveReport(Struct, rename="camel", frozen=True):
    """The outcome of a directive, repeated in each heartbeat until one is accepted."""

    id: Id
    state: Literal["started", "done", "failed"]
    detail: Text | None = None


class HeartbeatBody(Struct, rename="camel", frozen=True):
    """`POST /api/queue/heartbeat`: everything is optional, because old daemons send `{workerId}` only."""

    heals_nul: ClassVar[bool] = True
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
    planned_for_sec: Seconds | None = None  # with `stopping`: its owner announced it; 0: until it is started again
    slept_sec: Seconds | None = None
    directives: Annotated[list[DirectiveReport], Meta(max_length=DIRECTIVES_MAX)] | None = None
    starts_last_hour: Count | None = None


def cut_parts(parts: dict[str, Any] | None) -> dict[str, Any] | None:
    """Loops or logins as they are kept: of the first 32 what fits, without what is far longer than ours say."""
    if not parts or (
        len(parts) <= PARTS_MAX
        and max(map(len, parts)) <= TAG_CHARS_MAX
        and len(msgspec.json.encode(parts)) <= PART_BYTES_MAX
    ):
        return parts
    kept: dict[str, Any] = {}
    room = PARTS_BYTES_MAX
    for name, said in islice(parts.items(), PARTS_MAX):
        size = len(msgspec.json.encode(said))
        if len(name) <= TAG_CHARS_MAX and size <= min(PART_BYTES_MAX, room):
            kept[name] = said
            room -= size + len(name.encode())
    return kept


class SleepWindow(Struct, rename={"from_": "from"}, frozen=True):
    """A daily window in which silence is expected, in the named time zone."""

    from_: Annotated[str, whole(TIME_OF_DAY_PATTERN)]
    to: Annotated[str, whole(TIME_OF_DAY_PATTERN)]
    tz: Annotated[str, Meta(max_length=64)] = "UTC"


class SettingsBody(Struct, rename="camel", frozen=True):
    """An owner's settings for one daemon; null returns to the hub's default."""

    late_after_sec: Annotated[float, Meta(ge=1, le=30 * 86_400)] | None = None
    down_after_sec: Annotated[float, Meta(ge=1, le=30 * 86_400)] | None = None
    expected_sleep: Annotated[list[SleepWindow], Meta(max_length=16)] | None = None


class DirectiveBody(Struct, rename="camel", frozen=True):
    """`POST /api/daemons/{id}/directives`: what one daemon shall do, once. An update names a version or a wheel."""

    kind: Literal["drain", "resume", "restart", "update"]
    version: Annotated[str, whole(VERSION_PATTERN)] | None = None
    wheel: Annotated[str, Meta(min_length=1, max_length=2048)] | None = None  # an http(s) URL, or a path on its machine
    sha256: Annotated[str, whole(SHA256_PATTERN)] | None = None
    expires_sec: Annotated[float, Meta(ge=10, le=86_400)] = 600


class PauseBody(Struct, rename="camel", frozen=True):
    """The reason of a pause or resume, and the length of the pause; absent: until resumed."""

    reason: ShortText | None = None
    for_sec: Annotated[float, Meta(ge=1, le=400 * 86_400)] | None = None
