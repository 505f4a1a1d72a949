"""The verdict on a notice when it is due: it is sent, put off, or not worth sending any more."""

from __future__ import annotations

from msgspec.structs import replace

from understudy.coordinator import daily_windows
from understudy.coordinator.health import SILENT, STOPPED
from understudy.coordinator.notices import (
    AWAY,
    CALM_MS,
    DIGEST,
    LOUD,
    REMINDER,
    held_by_windows_ms,
    read_facts,
)
from understudy.coordinator.nouns import Daemon, Incident, Notice, Now
from understudy.coordinator.routes import Route, Routes, route_of

STORM = "storm"
OVER = "acknowledged or recovered before it was due"


def judged(row: Notice, incident: Incident | None, daemon: Daemon | None, routes: Routes, now: Now) -> Notice:
    """The row, or what it has become: folded, put off, or done with; the incident and daemon that it is about."""
    if row.kind == "progress" and row.sent_at and not row.ref:
        return replace(row, state="sent")  # this service cannot change a message
    why = why_moot(row, incident, daemon)
    if why:
        return replace(row, state="folded", last_error=why)
    if incident is not None and incident.snoozed_until > now.wall and _is_escalation(row, incident):
        return replace(row, next_at=incident.snoozed_until, due_at=incident.snoozed_until)
    until = _held_until(row, daemon, routes, now)
    if until > now.wall:  # it was put off until now, or tried before the window began; or the clock was set
        return replace(row, next_at=until, due_at=row.due_at if row.attempts else until)
    return row


def why_moot(row: Notice, incident: Incident | None, daemon: Daemon | None) -> str:
    """The reason that makes it not worth sending any more; "": it is."""
    if row.cause == DIGEST and (daemon is None or daemon.paused):
        return AWAY
    if not _is_escalation(row, incident):
        return ""
    return OVER if incident is None or incident.state == "recovered" or incident.acknowledged_by else ""


def _is_escalation(row: Notice, incident: Incident | None) -> bool:
    """True for a reminder, and for an alarm of an incident that a route held back and nobody has tried to send."""
    was_held = not row.attempts and row.due_at > row.created_at and row.level in LOUD
    return row.cause == REMINDER or (was_held and incident is not None)


def _held_until(row: Notice, daemon: Daemon | None, routes: Routes, now: Now) -> int:
    """The instant until which windows hold a notice, or what is left of its pause; up to now: nothing does."""
    if row.kind != "notice" or row.part or row.cause == STORM or row.state != "waiting":
        return 0
    if row.cause == DIGEST and daemon is not None and (daemon.state in SILENT or daemon.state == STOPPED):
        return now.wall + CALM_MS
    route = route_of(routes, row.channel, row.daemon_id, row.level)
    until = now.wall + held_by_windows_ms(routes, route, row.channel, row.level, row.daemon_id, now.wall)
    if row.level == "recovered":
        return until
    if row.cause == REMINDER and daemon is not None:
        until = max(until, now.wall + daily_windows.left_ms(daemon.expected_sleep, now.wall))
    return max(until, min(row.created_at + _pause_ms(row, route), row.due_at))


def _pause_ms(row: Notice, route: Route) -> int:
    """The time that a notice waits in any case, counted from its making."""
    if row.cause == REMINDER:
        return int(read_facts(row).get("everyMs", 0))
    if row.cause == DIGEST:
        return int(read_facts(row).get("pauseMs", row.due_at - row.created_at))
    return route.delay_ms
