"""Keys and sessions: what programs and browsers come in with; made, rotated, revoked, ended. For admins."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from understudy.api.app import endpoint_named
from understudy.dashboard.browsers import browser_name
from understudy.dashboard.page import Act, FieldError, Fragment, Given, Page
from understudy.hub.key_list import keys_shown, sessions_shown
from understudy.hub.views import View, cursor_of

SCOPES_SHOWN = ("work", "submit", "memory", "read", "admin")
REVOKED = "revoked"


def _keys(given: Given, view: View) -> Mapping[str, Any]:
    is_revoked = given["show"] == REVOKED
    shown = keys_shown(view, is_revoked=is_revoked, before=cursor_of(given["before"]))
    return {"shown": shown, "is_revoked": is_revoked, "environment": view.environment_keys}


def _sessions(_: Given, view: View) -> Mapping[str, Any]:
    return {"shown": sessions_shown(view), "browser_name": browser_name}


def _forms(_: Given, __: View) -> Mapping[str, Any]:
    return {"scopes": SCOPES_SHOWN}


def scopes_of(text: str) -> list[str]:
    """The scopes that were ticked, one a line. FieldError if none was."""
    if not text.split():
        raise FieldError("pages.keys.scopes.none")
    return text.split()


def name_of(text: str) -> str:
    """The name. FieldError if there is none."""
    if not text.strip():
        raise FieldError("pages.keys.name.none")
    return text.strip()


PAGE = Page(
    "/keys",
    "keys",
    (
        Fragment("keys_list", _keys, frozenset({"key", "session"})),
        Fragment("keys_sessions", _sessions, frozenset({"key", "session"}), every_s=30, is_own=True),
    ),
    _forms,
    ("show", "before"),
    ("admin",),
)
ACTS = (
    Act(
        "keys.create",
        "/keys/create",
        endpoint_named("POST", "/api/keys"),
        {"name": name_of, "scopes": scopes_of},
        result="keys_made.html",
        page="keys",
        is_once=True,
    ),
    Act(
        "keys.rotate",
        "/keys/{key_id}/rotate",
        endpoint_named("POST", "/api/keys/{key_id}/rotate"),
        result="keys_made.html",
        is_once=True,
    ),
    Act("keys.revoke", "/keys/{key_id}/revoke", endpoint_named("POST", "/api/keys/{key_id}/revoke")),
    Act("sessions.end", "/sessions/{session_id}/end", endpoint_named("POST", "/api/sessions/{session_id}/end")),
    Act("sessions.end_all", "/sessions/end", endpoint_named("POST", "/api/sessions/end"), {"keep": str}),
)
