"""Incidents: acknowledging and snoozing them."""

from __future__ import annotations

from understudy.coordinator import incidents
from understudy.coordinator.changes import Decision
from understudy.coordinator.nouns import Incident, Notice, Now
from understudy.errors import NotFoundError
from understudy.hub.operation import Operation
from understudy.hub.working_set import Needs, WorkingSet
from understudy.wire.answers.events import IncidentChanged, incident_json


class AcknowledgeIncident(Operation):
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
        change = incidents.acknowledge(incident, self.by, now)
        if change is None:
            return Decision(IncidentChanged(success=True, incident=incident_json(incident)))
        return change.decision(IncidentChanged(success=True, incident=incident_json(change.noun)))


class SnoozeIncident(Operation):
    """Reminders of it, and notices about it that still wait, pause for a while."""

    def __init__(self, incident_id: str, for_ms: int, by: str) -> None:
        self.incident_id = incident_id
        self.for_ms = for_ms
        self.by = by

    def needs(self, needs: Needs) -> None:
        """The incident, and the notices about it."""
        needs.row(Incident, self.incident_id)
        needs.stories.add((self.incident_id, ""))

    def decide(self, work: WorkingSet, now: Now) -> Decision:
        """Until then; a later word counts, also to end it."""
        incident = work.get(Incident, self.incident_id)
        if incident is None:
            raise NotFoundError("Incident not found")
        notices = (row for row in work.rows[Notice].values() if row is not None)
        change = incidents.snooze(incident, self.for_ms, self.by, now, notices)
        return change.decision(IncidentChanged(success=True, incident=incident_json(change.noun)))
