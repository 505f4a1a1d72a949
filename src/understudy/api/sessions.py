"""The endpoints about logins of browsers."""

from __future__ import annotations

from understudy.api.endpoint import Endpoint, Request, id_of
from understudy.hub.operation import Operation
from understudy.hub.sessions import EndSession, EndSessions, MakeLoginLink
from understudy.wire.answers.sessions import EndedSessions, LoginLink, SessionJson, SessionsAnswer
from understudy.wire.sessions import EndSessionsBody, LoginLinkBody

LINK_PREFIX = "login"


def _make_link(request: Request) -> Operation:
    body = request.parsed_if_any(LoginLinkBody)
    return MakeLoginLink(body.scope, request.ids.secret(LINK_PREFIX), request.caller)


def _end_all(request: Request) -> Operation:
    body = request.parsed_if_any(EndSessionsBody)
    return EndSessions(body.keep or "", request.caller.key_id)


ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint(
        "POST", "/api/login-links", "A link that logs a browser in, once, within ten minutes", ("admin",),
        make=_make_link, shape=LoginLinkBody, needs_body=False, answer=(LoginLink,), status=201,
    ),
    Endpoint(
        "GET", "/api/sessions", "Browsers that are or were logged in", ("admin",), show=lambda _, v: v.sessions(),
        answer=(SessionsAnswer,),
    ),
    Endpoint(
        "POST", "/api/sessions/{session_id}/end", "End a session: its pages and streams end at once", ("admin",),
        make=lambda r: EndSession(id_of(r, "session_id", "sessionId"), r.caller.key_id), answer=(SessionJson,),
        errors=(404,),
    ),
    Endpoint(
        "POST", "/api/sessions/end", "End all sessions, but for one if `keep` names it", ("admin",), make=_end_all,
        shape=EndSessionsBody, needs_body=False, answer=(EndedSessions,),
    ),
)  # fmt: skip
