"""Answers about what happened: events, incidents, starts of the hub."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import UNSET, UnsetType

from understudy.clock import iso
from understudy.coordinator.changes import Event
from understudy.coordinator.nouns import Deployment, Incident
from understudy.redact import Redactor
from understudy.wire.answers.base import Answer, Instant, Yes, if_any, instant_if_any, one_of


class EventJson(Answer, frozen=True):
    """An event of the log; `live` ones are too frequent to keep."""

    id: int
    at: Instant
    level: Annotated[str, one_of("debug", "info", "warning", "critical")]
    name: str
    component: str
    message: str
    fields: dict[str, Any]
    live: Yes | UnsetType = UNSET


class EventsAnswer(Answer, frozen=True):
    """Events, newest last; `next` is the cursor of the page before."""

    events: list[EventJson]
    next: str | UnsetType = UNSET


class IncidentJson(Answer, frozen=True):
    """One silence of one daemon; its length and missed beats once it is over."""

    id: str
    daemon_id: str
    state: Annotated[str, one_of("late", "down", "recovered")]
    opened_at: Instant
    late_at: Instant
    last_seen_at: Instant
    down_at: Instant | UnsetType = UNSET
    recovered_at: Instant | UnsetType = UNSET
    length_sec: float | UnsetType = UNSET
    missed_beats: int | UnsetType = UNSET
    acknowledged_by: str | UnsetType = UNSET
    acknowledged_at: Instant | UnsetType = UNSET
    snoozed_until: Instant | UnsetType = UNSET


class IncidentsAnswer(Answer, frozen=True):
    """Incidents, newest first."""

    incidents: list[IncidentJson]
    next: str | UnsetType = UNSET


class IncidentChanged(Answer, frozen=True):
    """The incident as it stands now."""

    success: Yes
    incident: IncidentJson


class DeploymentJson(Answer, frozen=True):
    """One start of a hub; `running` if that hub serves now. `endedAt` is absent for one that was killed."""

    version_id: str
    created_at: Instant
    package_version: str
    config_fingerprint: str
    host: str
    hub: str
    running: bool
    ended_at: Instant | UnsetType = UNSET


class DeploymentsAnswer(Answer, frozen=True):
    """Starts, newest first."""

    deployments: list[DeploymentJson]


def event_json(event_id: int, event: Event, redactor: Redactor) -> EventJson:
    """An event without secrets that somebody's error or reason brought along."""
    message, fields = event.message, event.fields
    text = msgspec.json.encode((message, fields)).decode()
    if redactor.clean(text) != text:  # one look at the whole is the rule, a walk through it the exception
        message, fields = redactor.clean(message), redactor.clean_value(fields)
    live = True if event.live_only else UNSET
    return EventJson(event_id, iso(event.at), event.level, event.name, event.component, message, fields, live)


def incident_json(incident: Incident) -> IncidentJson:
    """An incident, with what is known of it so far."""
    return IncidentJson(
        incident.id,
        incident.daemon_id,
        incident.state,
        iso(incident.opened_at),
        iso(incident.late_at),
        iso(incident.last_seen_at),
        down_at=instant_if_any(incident.down_at),
        recovered_at=instant_if_any(incident.recovered_at),
        length_sec=incident.length_ms / 1000 if incident.recovered_at else UNSET,
        missed_beats=incident.missed_beats if incident.recovered_at else UNSET,
        acknowledged_by=if_any(incident.acknowledged_by),
        acknowledged_at=iso(incident.acknowledged_at) if incident.acknowledged_by else UNSET,
        snoozed_until=instant_if_any(incident.snoozed_until),
    )


def deployment_json(row: Deployment, *, is_running: bool) -> DeploymentJson:
    """A start of a hub."""
    return DeploymentJson(
        row.version_id,
        iso(row.created_at),
        row.package_version,
        row.config_fingerprint,
        row.host,
        row.name or row.host,
        is_running,
        instant_if_any(row.ended_at),
    )
