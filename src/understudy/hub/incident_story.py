"""Incidents as people look at them: those that last first, then those that have ended; read from a snapshot."""

from __future__ import annotations

from msgspec import Struct

from understudy.coordinator.nouns import Daemon, Incident
from understudy.errors import NotFoundError
from understudy.hub.overview import open_incidents
from understudy.hub.views import DAEMONS_MAX, View
from understudy.wire.answers.events import IncidentJson, incident_json

OPEN_SHOWN = 200


class IncidentsShown(Struct, frozen=True):
    """A page of them."""

    open: list[IncidentJson]  # of daemons that are silent now; newest first, on every page
    more: int  # of those, that are not shown
    ended: list[IncidentJson]  # and those whose daemon was forgotten meanwhile
    next: str  # the cursor of older ones; "": there are none


def incidents_shown(view: View, before_at: int, before_id: str, limit: int) -> IncidentsShown:
    """Those that last, and so many others from there on."""
    lasting = open_incidents(view, view.reader.load_all(Daemon, DAEMONS_MAX))
    found = view.incidents(before_at, before_id, limit)
    known = {incident.id for incident in lasting}
    ended = [incident for incident in found.incidents if incident.id not in known]
    return IncidentsShown(lasting[:OPEN_SHOWN], max(len(lasting) - OPEN_SHOWN, 0), ended, found.next or "")


def one_incident(view: View, incident_id: str) -> IncidentsShown:
    """This one alone. NotFoundError."""
    found = view.reader.load_many(Incident, (incident_id,))
    if not found:
        raise NotFoundError("Incident not found")
    shown = [incident_json(found[0])]
    return IncidentsShown([], 0, shown, "") if found[0].recovered_at else IncidentsShown(shown, 0, [], "")
