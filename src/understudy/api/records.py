"""The endpoints about memory, keys, events and deployments."""

from __future__ import annotations

from typing import Any

from understudy.api.endpoint import STRING, Endpoint, Request, id_of
from understudy.errors import BadRequestError
from understudy.hub.enqueue import instant
from understudy.hub.keys import CreateKey, RevokeKey, RotateKey
from understudy.hub.memory import CHARS_A_TOKEN, CONTEXT_CHARS, ForgetMemory, SaveMemory
from understudy.hub.operation import Operation
from understudy.hub.views import View
from understudy.log import LEVELS, levels_from
from understudy.store.base import EventFilter
from understudy.wire.answers.base import Done
from understudy.wire.answers.events import DeploymentsAnswer, EventsAnswer
from understudy.wire.answers.keys import KeyJson, KeysAnswer, NewKey, RotatedKey
from understudy.wire.answers.memory import ContextAnswer, Forgotten, HistoryAnswer
from understudy.wire.keys import KeyCreateBody
from understudy.wire.memory import MemorySaveBody, channel_of

SEARCH_CHARS_MAX = 256
USER_CHARS_MAX = 256
CONTEXT_CHARS_MAX = 4_000 * CHARS_A_TOKEN


def _user(request: Request) -> str:
    user_id = request.path["user_id"]
    if "\0" in user_id:
        raise BadRequestError("Invalid userId format", ("userId: NUL characters are not accepted",))
    return user_id[:USER_CHARS_MAX]


def _channel(request: Request) -> str:
    return channel_of(request.query.get("channel", ""))


def _context(request: Request, view: View) -> Any:
    tokens = request.number("maxTokens", 100, 4000, 2000)
    chars = request.number("maxChars", 100, CONTEXT_CHARS_MAX, CONTEXT_CHARS)
    return view.context(_user(request), _channel(request), tokens, chars)


def _history(request: Request, view: View) -> Any:
    return view.history(_user(request), _channel(request), request.number("limit", 1, 100, 20))


def event_filter(request: Request) -> EventFilter:
    """The filter of a request for events; BadRequestError names the wrong parameter."""
    level = request.query.get("level", "")
    if level and level not in LEVELS:
        raise BadRequestError("Validation failed", (f"level: Expected one of {', '.join(LEVELS)}",))
    levels = levels_from(level) if level else ()
    since = request.query.get("since", "")
    text = request.query.get("search", "")
    if len(text) > SEARCH_CHARS_MAX:
        raise BadRequestError("Validation failed", (f"search: Expected at most {SEARCH_CHARS_MAX} characters",))
    return EventFilter(
        text,
        levels,
        instant(since, "since") if since else 0,
        before_id=request.number("cursor", 1, 2**53, 0),
        limit=request.number("limit", 1, 1000, 100),
    )


def is_search(wanted: EventFilter) -> bool:
    """True if events are looked at that may not be shown."""
    return bool(wanted.text or wanted.levels or wanted.since_at)


def _create_key(request: Request) -> Operation:
    body = request.parsed(KeyCreateBody)
    return CreateKey(body, request.ids.new("key"), request.ids.secret("usk"), request.caller.key_id)


def _rotate_key(request: Request) -> Operation:
    key_id = id_of(request, "key_id", "keyId")
    return RotateKey(key_id, request.ids.new("key"), request.ids.secret("usk"), request.caller.key_id)


_LIMIT = {"type": "integer", "minimum": 1, "maximum": 1000, "default": 100}
EVENTS = Endpoint(
    "GET", "/api/events", "The event log; with follow=1 as Server-Sent Events", ("read",), follows=True,
    answer=(EventsAnswer,),
    query=(
        ("search", {"type": "string", "maxLength": SEARCH_CHARS_MAX}),
        ("level", {"type": "string", "enum": list(LEVELS)}),
        ("since", {"type": "string", "format": "date-time"}),
        ("cursor", {"type": "integer", "minimum": 1}),
        ("limit", _LIMIT),
        ("follow", {"type": "string", "description": "1 or true: as Server-Sent Events"}),
    ),
)  # fmt: skip

ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint(
        "POST", "/api/memory/save", "Keep one message", ("memory",),
        make=lambda r: SaveMemory(r.parsed(MemorySaveBody), r.ids.new("memory")), shape=MemorySaveBody,
        answer=(Done,), errors=(507,),
    ),
    Endpoint(
        "GET", "/api/memory/context/{user_id:path}", "The most recent messages that fit", ("memory",), show=_context,
        answer=(ContextAnswer,),
        query=(
            ("channel", STRING),
            ("maxTokens", {"type": "integer", "minimum": 100, "maximum": 4000, "default": 2000}),
            (
                "maxChars",
                {"type": "integer", "minimum": 100, "maximum": CONTEXT_CHARS_MAX, "default": CONTEXT_CHARS},
            ),
        ),
    ),
    Endpoint(
        "GET", "/api/memory/history/{user_id:path}", "A user's messages, oldest first", ("memory",), show=_history,
        answer=(HistoryAnswer,),
        query=(
            ("channel", STRING),
            ("limit", {"type": "integer", "minimum": 1, "maximum": 100, "default": 20}),
        ),
    ),
    Endpoint(
        "DELETE", "/api/memory/{user_id:path}", "Forget a user", ("memory",),
        make=lambda r: ForgetMemory(_user(r)), answer=(Forgotten,),
    ),
    EVENTS,
    Endpoint(
        "GET", "/api/deployments", "Every start of a hub", ("read",),
        show=lambda _, v: v.deployments(), answer=(DeploymentsAnswer,),
    ),
    Endpoint(
        "GET", "/api/keys", "All keys, without their secrets", ("admin",),
        show=lambda _, v: v.keys(), answer=(KeysAnswer,),
    ),
    Endpoint(
        "POST", "/api/keys", "Create a key; its secret is shown this once", ("admin",), make=_create_key,
        shape=KeyCreateBody, answer=(NewKey,), status=201, errors=(507,),
    ),
    Endpoint(
        "POST", "/api/keys/{key_id}/revoke", "Revoke a key", ("admin",),
        make=lambda r: RevokeKey(id_of(r, "key_id", "keyId"), r.caller.key_id), answer=(KeyJson,), errors=(404,),
    ),
    Endpoint(
        "POST", "/api/keys/{key_id}/rotate", "Make a successor of a key", ("admin",), make=_rotate_key,
        answer=(RotatedKey,), status=201, errors=(404, 409, 507),
    ),
)  # fmt: skip
