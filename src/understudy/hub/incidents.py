"""Incidents: acknowledging and snoozing them."""

from __future__ import annotations

from msgspec.structs import replace

from understudy.clock import iso
from understudy.coordinator.changes import Decision, make_event
from understudy.coordinator.nouns import Incident, Now
from understudy.errors import NotFoundError
from understudy.hub.operation import Operation
from understudy.hub.working_set import Needs, WorkingSet
from understudy.wire.answers.events import IncidentChanged, incident_json


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
            return Decision(IncidentChanged(success=True, incident=incident_json(incident)))
        seen = replace(incident, acknowledged_by=self.by, acknowledged_at=now.wall)
        fields = {"incidentId": incident.id, "daemonId": incident.daemon_id, "by": self.by}
        message = f"Incident of {incident.daemon_id} acknowledged"
        event = make_event(now, "incident.acknowledged", message, fields, daemon_id=incident.daemon_id)
        return Decision(IncidentChanged(success=True, incident=incident_json(seen)), (seen,), (event,))


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
        return Decision(IncidentChanged(success=True, incident=incident_json(quiet)), (quiet,), (event,))
