"""Incidents: acknowledging them, and how they look on the wire."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from understudy.clock import iso
from understudy.coordinator.changes import Decision, make_event
from understudy.coordinator.nouns import Incident, Now
from understudy.errors import NotFoundError
from understudy.hub.operation import Operation
from understudy.hub.working_set import Needs, WorkingSet


class Acknowledge(Operation):
    """Somebody has seen it; the first one counts."""

    def __init__(self, incident_id: str, by: str) -> None:
        self.incident_id = incident_id
        self.by = by

    def needs(self, needs: Needs) -> None:
        """The incident."""
        needs.row(Incident, self.incident_id)

    def decide(self, work: WorkingSet, now: Now) -> Decision:
        """Note who."""
        incident = work.get(Incident, self.incident_id)
        if incident is None:
            raise NotFoundError("Incident not found")
        if incident.acknowledged_by:
            return Decision({"success": True, "incident": incident_json(incident)})
        seen = replace(incident, acknowledged_by=self.by, acknowledged_at=now.wall)
        fields = {"incidentId": incident.id, "daemonId": incident.daemon_id, "by": self.by}
        message = f"Incident of {incident.daemon_id} acknowledged"
        event = make_event(now, "incident.acknowledged", message, fields, daemon_id=incident.daemon_id)
        return Decision({"success": True, "incident": incident_json(seen)}, (seen,), (event,))


class Snooze(Operation):
    """Reminders, and whatever still waits to be told of it, pause for a while."""

    def __init__(self, incident_id: str, for_ms: int, by: str) -> None:
        self.incident_id = incident_id
        self.for_ms = for_ms
        self.by = by

    def needs(self, needs: Needs) -> None:
        """The incident."""
        needs.row(Incident, self.incident_id)

    def decide(self, work: WorkingSet, now: Now) -> Decision:
        """Until then; a later word counts, also to end it."""
        incident = work.get(Incident, self.incident_id)
        if incident is None:
            raise NotFoundError("Incident not found")
        until = now.wall + self.for_ms
        quiet = replace(incident, snoozed_until=until)
        fields = {"incidentId": incident.id, "daemonId": incident.daemon_id, "by": self.by, "until": iso(until)}
        message = f"Incident of {incident.daemon_id} snoozed"
        event = make_event(now, "incident.snoozed", message, fields, daemon_id=incident.daemon_id)
        return Decision({"success": True, "incident": incident_json(quiet)}, (quiet,), (event,))


def incident_json(incident: Incident) -> dict[str, Any]:
    """An incident as the contract shapes it."""
    shaped: dict[str, Any] = {
        "id": incident.id,
        "daemonId": incident.daemon_id,
        "state": incident.state,
        "openedAt": iso(incident.opened_at),
        "lateAt": iso(incident.late_at),
        "lastSeenAt": iso(incident.last_seen_at),
    }
    if incident.down_at:
        shaped["downAt"] = iso(incident.down_at)
    if incident.recovered_at:
        shaped["recoveredAt"] = iso(incident.recovered_at)
        shaped["lengthSec"] = incident.length_ms / 1000
        shaped["missedBeats"] = incident.missed_beats
    if incident.acknowledged_by:
        shaped["acknowledgedBy"] = incident.acknowledged_by
        shaped["acknowledgedAt"] = iso(incident.acknowledged_at)
    if incident.snoozed_until:
        shaped["snoozedUntil"] = iso(incident.snoozed_until)
    return shaped
