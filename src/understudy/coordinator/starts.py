"""Events of the hub itself: its start and, once a minute, the number of heartbeats and alarms."""

from __future__ import annotations

from understudy.coordinator.changes import Change, Event, make_event
from understudy.coordinator.nouns import Deployment, Now


def start(row: Deployment, now: Now) -> Change[Deployment]:
    """A hub was started."""
    fields = {"version": row.package_version, "host": row.host, "versionId": row.version_id}
    message = f"Hub {row.package_version} started"
    return Change(row, (), (make_event(now, "hub.started", message, fields, component="Hub"),))


def minute(beats: int, alarms: int, now: Now) -> tuple[Event, ...]:
    """The summary of events that are too frequent to keep: one event for each kind that happened."""
    counts = (("heartbeat.recorded", "Heartbeat recorded", beats), ("alarm.triggered", "Alarm triggered", alarms))
    return tuple(make_event(now, name, message, {"timesLastMinute": count}) for name, message, count in counts if count)


def rang(now: Now) -> Event:
    """The alarm has rung; too frequent to keep."""
    return Event(now.wall, "debug", "alarm.triggered", "TaskCoordinator", "Alarm triggered", {}, live_only=True)
