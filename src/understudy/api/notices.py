"""The endpoints about notices and channels."""

from __future__ import annotations

from typing import Any

from understudy.api.endpoint import STRING, Endpoint, Request, id_of
from understudy.errors import BadRequestError
from understudy.hub.incidents import SnoozeIncident
from understudy.hub.operation import Operation
from understudy.hub.outbox import ResendNotice, SendTestNotice
from understudy.hub.views import View, cursor_of
from understudy.wire.answers.events import IncidentChanged
from understudy.wire.answers.notices import ChannelsAnswer, NoticeChanged, NoticeJson, NoticesAnswer, TestsAnswer
from understudy.wire.notices import SnoozeBody, TestBody

STATES = ("waiting", "sent", "dead", "folded")


def _notices(request: Request, view: View) -> Any:
    state = request.query.get("state", "")
    if state and state not in STATES:
        raise BadRequestError("Validation failed", (f"state: Expected one of {', '.join(STATES)}",))
    at, key = cursor_of(request.query.get("cursor", ""))
    return view.notices(state, at, key, request.number("limit", 1, 1000, 50))


def _test(request: Request) -> Operation:
    body = request.parsed_if_any(TestBody)
    return SendTestNotice(body.channel or "")


def _snooze(request: Request) -> Operation:
    body = request.parsed(SnoozeBody)
    return SnoozeIncident(
        id_of(request, "incident_id", "incidentId"), round(body.for_sec * 1000), request.caller.key_id
    )


ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint(
        "GET", "/api/notices", "Notices and answers: sent, waiting or dead; newest first", ("read",), show=_notices,
        answer=(NoticesAnswer,),
        query=(
            ("state", {"type": "string", "enum": list(STATES)}),
            ("cursor", STRING),
            ("limit", {"type": "integer", "minimum": 1, "maximum": 1000, "default": 50}),
        ),
    ),
    Endpoint(
        "GET", "/api/notices/{notice_id}", "One of them", ("read",),
        show=lambda r, v: v.notice(id_of(r, "notice_id", "noticeId")), answer=(NoticeJson,), errors=(404,),
    ),
    Endpoint(
        "POST", "/api/notices/{notice_id}/resend", "Send a dead letter again", ("admin",),
        make=lambda r: ResendNotice(id_of(r, "notice_id", "noticeId"), r.caller.key_id), answer=(NoticeChanged,),
        errors=(404, 409),
    ),
    Endpoint(
        "GET", "/api/channels", "Each channel and the state of its outbox", ("read",),
        show=lambda _, v: v.channels(), answer=(ChannelsAnswer,),
    ),
    Endpoint(
        "POST", "/api/channels/test", "Send a test to one channel or all", ("admin",), make=_test, shape=TestBody,
        needs_body=False, answer=(TestsAnswer,), errors=(409,),
    ),
    Endpoint(
        "POST", "/api/incidents/{incident_id}/snooze", "Hold back reminders and escalations for a while",
        ("admin", "work"), make=_snooze, shape=SnoozeBody, answer=(IncidentChanged,), errors=(404,),
    ),
)  # fmt: skip
