"""The hub itself: its start, its signs of life beside other hubs, its end, and what it counted in a minute."""

from __future__ import annotations

from msgspec.structs import replace

from understudy.coordinator.changes import Change, Event, make_event
from understudy.coordinator.nouns import Deployment, Now

SEEN_EVERY_MS = 5_000
GONE_AFTER_MS = 20_000  # three signs of life that did not come, and one that was late


def start(row: Deployment, now: Now) -> Change[Deployment]:
    """A hub was started."""
    fields = {"version": row.package_version, "host": row.host, "versionId": row.version_id, "hub": row.name}
    message = f"Hub {row.package_version} started"
    return Change(row, (), (make_event(now, "hub.started", message, fields, component="Hub"),))


def seen(row: Deployment, now: Now) -> Change[Deployment]:
    """It runs; also one that was taken for gone, or that another clock had ended."""
    return Change(replace(row, seen_at=now.wall, ended_at=0))


def ended(row: Deployment, now: Now) -> Change[Deployment]:
    """It stops in order."""
    return Change(replace(row, seen_at=now.wall, ended_at=now.wall))


def lately(wall: int) -> tuple[int, int]:
    """A hub that runs was seen between these instants; one that is gone perhaps later, by a clock that was ahead."""
    return wall - GONE_AFTER_MS, wall + GONE_AFTER_MS


def is_running(row: Deployment, wall: int) -> bool:
    """True if this start was heard of lately and has not ended."""
    after, before = lately(wall)
    return not row.ended_at and after < row.seen_at < before


def minute(beats: int, alarms: int, now: Now) -> tuple[Event, ...]:
    """The summary of events that are too frequent to keep: one event for each kind that happened."""
    counts = (("heartbeat.recorded", "Heartbeat recorded", beats), ("alarm.triggered", "Alarm triggered", alarms))
    return tuple(make_event(now, name, message, {"timesLastMinute": count}) for name, message, count in counts if count)


def rang(now: Now) -> Event:
    """The alarm has rung; too frequent to keep."""
    return Event(now.wall, "debug", "alarm.triggered", "TaskCoordinator", "Alarm triggered", {}, live_only=True)
