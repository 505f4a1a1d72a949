"""Incidents: acknowledge and snooze, while a silence lasts or after it."""

from __future__ import annotations

from msgspec.structs import replace

from understudy.clock import iso
from understudy.coordinator.changes import Change, Event, make_event
from understudy.coordinator.nouns import Incident, Now


def acknowledge(incident: Incident, by: str, now: Now) -> Change[Incident] | None:
    """Somebody has seen it; None if somebody else had before: the first one counts."""
    if incident.acknowledged_by:
        return None
    seen = replace(incident, acknowledged_by=by, acknowledged_at=now.wall)
    return Change(seen, (), (_event(incident, now, "incident.acknowledged", by=by),))


def snooze(incident: Incident, for_ms: int, by: str, now: Now) -> Change[Incident]:
    """Its reminders and waiting notices pause until then. A later command replaces it and may end the pause early."""
    until = now.wall + for_ms
    quiet = replace(incident, snoozed_until=until)
    return Change(quiet, (), (_event(incident, now, "incident.snoozed", by=by, until=iso(until)),))


def _event(incident: Incident, now: Now, name: str, **fields: object) -> Event:
    about = {"incidentId": incident.id, "daemonId": incident.daemon_id, **fields}
    message = f"Incident of {incident.daemon_id} {name.partition('.')[2]}"
    return make_event(now, name, message, about, daemon_id=incident.daemon_id)
