"""Incidents as people look at them: those that last first, then those that have ended; read from a snapshot."""

from __future__ import annotations

from msgspec import UNSET, Struct

from understudy.coordinator.nouns import Incident
from understudy.errors import NotFoundError
from understudy.hub.views import View
from understudy.store.queries import INCIDENTS_OPEN
from understudy.wire.answers.events import IncidentJson, incident_json

OPEN_SHOWN = 200
OPEN_COUNTED_MAX = 10_000


class IncidentsShown(Struct, frozen=True):
    """A page of them."""

    open: list[IncidentJson]  # of daemons that are silent now; newest first, on every page
    more: int  # of those, that are not shown
    ended: list[IncidentJson]
    next: str  # the cursor of older ones; "": there are none


def incidents_shown(view: View, before_at: int, before_id: str, limit: int) -> IncidentsShown:
    """Those that last, and so many others from there on."""
    rows = view.reader.find(INCIDENTS_OPEN, limit=OPEN_SHOWN)
    count = view.reader.count(INCIDENTS_OPEN, limit=OPEN_COUNTED_MAX) if len(rows) == OPEN_SHOWN else len(rows)
    found = view.incidents(before_at, before_id, limit)
    ended = [incident for incident in found.incidents if incident.recovered_at is not UNSET]
    return IncidentsShown([*map(incident_json, rows)], count - len(rows), ended, found.next or "")


def one_incident(view: View, incident_id: str) -> IncidentsShown:
    """This one alone. NotFoundError."""
    found = view.reader.load_many(Incident, (incident_id,))
    if not found:
        raise NotFoundError("Incident not found")
    shown = [incident_json(found[0])]
    return IncidentsShown([], 0, shown, "") if found[0].recovered_at else IncidentsShown(shown, 0, [], "")
