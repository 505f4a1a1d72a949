"""Incidents: acknowledge and snooze, while a silence lasts or after it."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec.structs import replace

from understudy.clock import iso
from understudy.coordinator.changes import Change, Event, make_event
from understudy.coordinator.nouns import Incident, Notice, Now


def acknowledge(incident: Incident, by: str, now: Now) -> Change[Incident] | None:
    """Somebody has seen it; None if somebody else had before: the first one counts."""
    if incident.acknowledged_by:
        return None
    seen = replace(incident, acknowledged_by=by, acknowledged_at=now.wall)
    return Change(seen, (), (_event(incident, now, "incident.acknowledged", by=by),))


def snooze(incident: Incident, for_ms: int, by: str, now: Now, notices: Iterable[Notice] = ()) -> Change[Incident]:
    """Its reminders and waiting notices pause until then. A later command replaces it and may end the pause early.

    `notices` are those about it: what an earlier pause has put off to its end comes by the end of this one.
    """
    until = now.wall + for_ms
    quiet = replace(incident, snoozed_until=until)
    sooner = (replace(row, next_at=until, due_at=until) for row in notices if _is_put_off(row, incident, until))
    return Change(quiet, tuple(sooner), (_event(incident, now, "incident.snoozed", by=by, until=iso(until)),))


def _is_put_off(row: Notice, incident: Incident, until: int) -> bool:
    """True if it waits for the end of the pause that the incident has, and that is later than this instant."""
    is_about = row.state == "waiting" and row.incident_id == incident.id
    return is_about and row.next_at == row.due_at == incident.snoozed_until > until


def _event(incident: Incident, now: Now, name: str, **fields: object) -> Event:
    about = {"incidentId": incident.id, "daemonId": incident.daemon_id, **fields}
    message = f"Incident of {incident.daemon_id} {name.partition('.')[2]}"
    return make_event(now, name, message, about, daemon_id=incident.daemon_id)
