"""Answers about daemons and directives."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import UNSET, UnsetType

from understudy.clock import iso
from understudy.coordinator import directives
from understudy.coordinator.nouns import Daemon, Directive, Now
from understudy.coordinator.stuck import Trouble
from understudy.wire.answers.base import Answer, Instant, Yes, as_stored, if_any, instant_if_any, one_of
from understudy.wire.daemons import SleepWindow

State = Annotated[str, one_of("new", "healthy", "late", "down", "stuck", "asleep", "paused", "draining", "stopped")]
Kind = Annotated[str, one_of("drain", "resume", "restart", "update")]


class RunJson(Answer, frozen=True):
    """A run that a daemon named in its last beat."""

    task_id: str
    token: int
    progress_at: str | UnsetType = UNSET
    idle_sec: float | UnsetType | None = UNSET
    idle_limit_sec: float | UnsetType = UNSET


class SettingsJson(Answer, frozen=True):
    """An owner's settings for a daemon; null where the hub's default holds."""

    late_after_sec: float | None
    down_after_sec: float | None
    expected_sleep: list[SleepWindow]


class DirectiveShown(Answer, frozen=True):
    """A directive as an owner sees it; the URL of a wheel without its query."""

    id: str
    daemon_id: str
    kind: Kind
    state: Annotated[str, one_of("asked", "delivered", "started", "done", "failed", "expired")]
    asked_by: str
    asked_at: Instant
    version: str | UnsetType = UNSET
    wheel: str | UnsetType = UNSET
    sha256: str | UnsetType = UNSET


class DirectiveJson(DirectiveShown, frozen=True):
    """A directive and how it ended."""

    detail: str | UnsetType = UNSET
    ended_at: Instant | UnsetType = UNSET


class DirectiveAsked(DirectiveShown, frozen=True, kw_only=True):
    """The directive that was asked for; `created` is false where it was on its way already."""

    success: Yes
    created: bool


class DirectiveOrder(Answer, frozen=True):
    """A directive as its daemon gets it: a duration, no instant."""

    id: str
    kind: Kind
    expires_in_sec: float
    version: str | UnsetType = UNSET
    wheel: str | UnsetType = UNSET
    sha256: str | UnsetType = UNSET


class HeartbeatAnswer(Answer, frozen=True):
    """The beat was heard; from `nextInSec` on only for a daemon that names itself."""

    success: Yes
    timestamp: int  # ms since the epoch
    next_in_sec: float | UnsetType = UNSET
    lost: list[str] | UnsetType = UNSET
    cancel: list[str] | UnsetType = UNSET
    directives: list[DirectiveOrder] | UnsetType = UNSET


class StuckJson(Answer, frozen=True):
    """The reason why a daemon is stuck."""

    code: str
    what: str
    state: str | UnsetType = UNSET
    limit_sec: float | UnsetType = UNSET
    mend: str | UnsetType = UNSET


class DaemonJson(Answer, frozen=True):
    """A daemon, what it last said, and how it is."""

    daemon_id: str
    state: State
    last_seen_at: Instant | None
    silent_for_sec: float
    late_at: Instant
    down_at: Instant
    interval_sec: float | None
    version: str
    boot_id: str
    machine_id: str
    capacity: int
    provides: list[str]
    running: list[RunJson]
    loops: dict[str, Any]
    auth: dict[str, Any]
    settings: SettingsJson
    since_at: Instant
    reason: str | UnsetType = UNSET
    quiet_until: Instant | UnsetType = UNSET
    stuck: StuckJson | UnsetType = UNSET
    incident_id: str | UnsetType = UNSET


class OneDaemon(DaemonJson, frozen=True):
    """A daemon with its latest directives."""

    directives: list[DirectiveJson] | UnsetType = UNSET


class DaemonsAnswer(Answer, frozen=True):
    """The daemons by id; `next` is the cursor of the next page."""

    daemons: list[DaemonJson]
    next: str | UnsetType = UNSET


class OldStatusJson(Answer, frozen=True):
    """A daemon as watchdogs of the old hub read it."""

    daemon_id: str
    version: str
    capabilities: list[str]
    poll_interval: int
    registered_at: str
    last_heartbeat: Instant
    status: Annotated[str, one_of("healthy", "degraded", "unhealthy")]
    tasks_processed: int
    current_task: str | UnsetType = UNSET


class OldHealthAnswer(Answer, frozen=True):
    """Active and stale daemons; `totalActive` counts those too that are left out because the answer is full."""

    active_daemons: list[OldStatusJson]
    stale: list[OldStatusJson]
    total_active: int
    left_out: int | UnsetType = UNSET


class Registered(Answer, frozen=True):
    """A daemon of the old kind is watched from now on."""

    success: Yes
    daemon_id: str
    registered_at: str  # as it said itself


class DaemonChanged(Answer, frozen=True):
    """The daemon that was paused, resumed or forgotten."""

    success: Yes
    daemon_id: str


class SettingsChanged(Answer, frozen=True):
    """A daemon's settings as they are now."""

    success: Yes
    daemon_id: str
    settings: SettingsJson


def settings_json(daemon: Daemon) -> SettingsJson:
    """The owner's settings for it."""
    late, down = daemon.late_after_ms / 1000 or None, daemon.down_after_ms / 1000 or None
    return SettingsJson(late, down, as_stored(daemon.expected_sleep))


def old_status_json(daemon: Daemon) -> OldStatusJson:
    """A daemon as `GET /api/daemon/health` shows it."""
    return OldStatusJson(
        daemon.id,
        daemon.version,
        as_stored(daemon.capabilities),
        daemon.poll_interval_ms,
        daemon.registered_as or iso(daemon.registered_at or daemon.first_seen_at),
        iso(daemon.last_seen_at or daemon.first_seen_at),
        daemon.said_status or ("healthy" if daemon.state == "healthy" else "unhealthy"),
        daemon.tasks_processed,
        if_any(daemon.current_task),
    )


def directive_json(directive: Directive) -> DirectiveJson:
    """A directive as an owner sees it."""
    detail, ended_at = if_any(directive.detail), instant_if_any(directive.ended_at)
    return DirectiveJson(**_seen(directive), detail=detail, ended_at=ended_at)


def directive_asked(directive: Directive, *, created: bool) -> DirectiveAsked:
    """The answer to a request for it."""
    return DirectiveAsked(**_seen(directive), success=True, created=created)


def directive_offer(directive: Directive, now: Now) -> DirectiveOrder:
    """A directive for its daemon."""
    named = _named(msgspec.json.decode(directive.arguments))
    return DirectiveOrder(directive.id, directive.kind, (directive.expires_h - now.h) / 1000, **named)


def _named(arguments: dict[str, str]) -> dict[str, str]:
    return {name: arguments[name] for name in ("version", "wheel", "sha256") if name in arguments}


def _seen(directive: Directive) -> dict[str, Any]:
    return {
        "id": directive.id,
        "daemon_id": directive.daemon_id,
        "kind": directive.kind,
        "state": directive.state,
        "asked_by": directive.asked_by,
        "asked_at": iso(directive.asked_at),
        **_named(directives.shown(directive)),
    }


def stuck_json(trouble: Trouble) -> StuckJson:
    """The trouble that a daemon's last heartbeat reported."""
    limit_s = trouble.limit_s or UNSET
    return StuckJson(trouble.code, trouble.what, if_any(trouble.word), limit_s, if_any(trouble.fix))
