"""Incidents: who is silent now and who has seen it; then every silence that has ended."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import UNSET

from understudy.clock import iso
from understudy.dashboard.page import Fragment, Given, Page
from understudy.hub.incident_story import incidents_shown, one_incident
from understudy.hub.views import View, cursor_of
from understudy.wire.answers.events import IncidentJson

SHOWN = 50
HOUR_S, EIGHT_HOURS_S = 3_600, 28_800


def _incidents(given: Given, view: View) -> Mapping[str, Any]:
    one = given["incident"]
    shown = one_incident(view, one) if one else incidents_shown(view, *cursor_of(given["cursor"]), SHOWN)
    return {
        "shown": shown,
        "one": one,
        "snoozed": {incident.id for incident in shown.open if is_snoozed(incident, view)},
        "snoozes": ((HOUR_S, "1h"), (EIGHT_HOURS_S, "8h")),
    }


def is_snoozed(incident: IncidentJson, view: View) -> bool:
    """True if its reminders and escalations pause now."""
    return incident.snoozed_until is not UNSET and incident.snoozed_until > iso(view.now.wall)


# what is acknowledged and snoozed here are the acts of Home
PAGE = Page(
    "/incidents",
    "incidents",
    (Fragment("incidents", _incidents, frozenset({"incident", "daemon", "hub"}), every_s=5),),
    query=("cursor", "incident"),
)
