"""The endpoints about daemons and incidents."""

from __future__ import annotations

from typing import Any

from understudy.api.endpoint import STRING, Endpoint, Request, id_of
from understudy.errors import BadRequestError
from understudy.hub.daemons import ConfigureDaemon, ForgetDaemon, PauseDaemon, RecordLegacyHeartbeat, RegisterDaemon
from understudy.hub.directives import OrderDirective
from understudy.hub.heartbeats import RecordHeartbeat
from understudy.hub.incidents import AcknowledgeIncident
from understudy.hub.operation import Operation
from understudy.hub.views import View, cursor_of
from understudy.wire.answers.base import Done
from understudy.wire.answers.daemons import (
    DaemonChanged,
    DaemonsAnswer,
    DirectiveAsked,
    HeartbeatAnswer,
    OldHealthAnswer,
    OneDaemon,
    Registered,
    SettingsChanged,
)
from understudy.wire.answers.events import IncidentChanged, IncidentsAnswer
from understudy.wire.daemons import (
    DirectiveBody,
    HeartbeatBody,
    LegacyHeartbeatBody,
    PauseBody,
    RegisterBody,
    SettingsBody,
)
from understudy.wire.decode import decode
from understudy.wire.keys import AcknowledgeBody

DAEMON_ID_CHARS_MAX = 256
DAEMONS_PATH = "/api/daemons/"


def _heartbeat(request: Request) -> Operation:
    """An absent, empty or unreadable body is fine: it is a sign of life all the same."""
    try:
        body = decode(request.body, HeartbeatBody)
    except BadRequestError as unreadable:
        if "details" in unreadable.fields and b"daemonId" in request.body:
            raise
        body = HeartbeatBody()
    return RecordHeartbeat(body)


def _daemon_id(request: Request) -> str:
    value = request.path["daemon_id"]
    if not value or len(value) > DAEMON_ID_CHARS_MAX or "\0" in value:
        raise BadRequestError("Invalid daemonId format", ("daemonId: Expected 1 to 256 characters",))
    return value


def _pause(*, paused: bool) -> Any:
    def make(request: Request) -> Operation:
        daemon_id = _daemon_id(request)
        body = request.parsed_if_any(PauseBody)
        return PauseDaemon(daemon_id, paused=paused, for_ms=round((body.for_sec or 0) * 1000))

    return make


def _ask(request: Request) -> Operation:
    body = request.parsed(DirectiveBody)
    return OrderDirective(_daemon_id(request), body, request.ids.new("directive"), request.caller.key_id)


def _acknowledge(request: Request) -> Operation:
    incident_id = id_of(request, "incident_id", "incidentId")
    body = request.parsed_if_any(AcknowledgeBody)
    return AcknowledgeIncident(incident_id, body.by or request.caller.key_id)


def _incidents(request: Request, view: View) -> Any:
    at, key = cursor_of(request.query.get("cursor", ""))
    return view.incidents(at, key, request.number("limit", 1, 1000, 50))


HEARTBEAT = Endpoint(
    "POST", "/api/queue/heartbeat", "A sign of life; renews the leases of what runs", ("work",), make=_heartbeat,
    shape=HeartbeatBody, needs_body=False, answer=(HeartbeatAnswer,), errors=(409, 507), is_limited=False,
)  # fmt: skip

ENDPOINTS: tuple[Endpoint, ...] = (
    HEARTBEAT,
    Endpoint(
        "POST", "/api/daemon/register", "Register a daemon", ("work",),
        make=lambda r: RegisterDaemon(r.parsed(RegisterBody)), shape=RegisterBody, answer=(Registered,),
        status=201, errors=(507,), is_limited=False,
    ),
    Endpoint(
        "POST", "/api/daemon/heartbeat", "A registered daemon's own health report", ("work",),
        make=lambda r: RecordLegacyHeartbeat(r.parsed(LegacyHeartbeatBody)), shape=LegacyHeartbeatBody,
        answer=(Done,), errors=(404,), is_limited=False,
    ),
    Endpoint(
        "GET", "/api/daemon/health", "Active and stale daemons", ("read",),
        show=lambda _, v: v.old_health(), answer=(OldHealthAnswer,),
    ),
    Endpoint(
        "GET", "/api/daemons", "Daemons by id, a page at a time", ("read",),
        show=lambda r, v: v.daemons(r.query.get("cursor", "")), answer=(DaemonsAnswer,), query=(("cursor", STRING),),
    ),
    Endpoint(
        "POST", "/api/daemons/{daemon_id:path}/pause", "Give a daemon no work and do not judge its silence", ("admin",),
        make=_pause(paused=True), shape=PauseBody, needs_body=False, answer=(DaemonChanged,), errors=(404,),
    ),
    Endpoint(
        "POST", "/api/daemons/{daemon_id:path}/resume", "Give a daemon work again and judge its silence", ("admin",),
        make=_pause(paused=False), shape=PauseBody, needs_body=False, answer=(DaemonChanged,), errors=(404,),
    ),
    Endpoint(
        "POST", "/api/daemons/{daemon_id:path}/directives", "Order a daemon to drain, resume, restart or update",
        ("admin",), make=_ask, shape=DirectiveBody, answer=(DirectiveAsked,),
        status=lambda a: 201 if a.created else 200, errors=(404, 409),
    ),
    Endpoint(
        "PUT", "/api/daemons/{daemon_id:path}/settings", "Its own limits and sleep windows", ("admin",),
        make=lambda r: ConfigureDaemon(_daemon_id(r), r.parsed(SettingsBody)), shape=SettingsBody,
        answer=(SettingsChanged,), errors=(404,),
    ),
    Endpoint(
        "DELETE", "/api/daemons/{daemon_id:path}", "Forget a daemon: its id is free again", ("admin",),
        make=lambda r: ForgetDaemon(_daemon_id(r)), answer=(DaemonChanged,), errors=(404, 409),
    ),
    Endpoint(
        "GET", "/api/daemons/{daemon_id:path}", "One daemon", ("read",),
        show=lambda r, v: v.daemon(_daemon_id(r)), answer=(OneDaemon,), errors=(404,),
    ),
    Endpoint(
        "GET", "/api/incidents", "Incidents, newest first", ("read",), show=_incidents, answer=(IncidentsAnswer,),
        query=(("cursor", STRING), ("limit", {"type": "integer", "minimum": 1, "maximum": 1000, "default": 50})),
    ),
    Endpoint(
        "POST", "/api/incidents/{incident_id}/acknowledge", "Acknowledge an incident", ("admin", "work"),
        make=_acknowledge, shape=AcknowledgeBody, needs_body=False, answer=(IncidentChanged,), errors=(404,),
    ),
)  # fmt: skip
