"""The ASGI application: the table of endpoints behind keys and limits; the hot paths go straight to it.

What is routed by Starlette is in `routed`, which a host may leave unread until somebody asks for it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any

from understudy.api import daemons, notices, overview, records, sessions, takeover, tasks
from understudy.api.context import Api
from understudy.api.endpoint import Endpoint
from understudy.api.endpoint_app import EndpointApp
from understudy.api.health import health_apps
from understudy.api.hub import CallsBack
from understudy.hub.messages import LINK_PATH
from understudy.wire.limits import is_id

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.routing import Route

    from understudy.api.routed import Shown

ENDPOINTS: tuple[Endpoint, ...] = (
    *tasks.ENDPOINTS,
    *overview.ENDPOINTS,
    *daemons.ENDPOINTS,
    *notices.ENDPOINTS,
    *takeover.ENDPOINTS,
    *records.ENDPOINTS,
    *sessions.ENDPOINTS,
)
App = Callable[[Any, Any, Any], Awaitable[None]]  # an ASGI application
PAST_ASGI = frozenset({  # what daemons and submitters ask all day; nothing but the operation's answer goes into theirs
    "/api/queue", "/api/queue/heartbeat", "/api/queue/claim", "/api/queue/{task_id}/renew", "/api/result/{task_id}",
    "/api/results", "/api/queue/{task_id}/release", "/api/queue/{task_id}/status",
})  # fmt: skip


def endpoint_named(method: str, path: str) -> Endpoint:
    """The row of the table; KeyError if there is none."""
    for endpoint in ENDPOINTS:
        if (endpoint.method, endpoint.path) == (method, path):
            return endpoint
    raise KeyError(f"{method} {path}")


async def _nobody(_: Any, __: Any, ___: Any) -> bool:
    return False


def build_app(api: Api) -> Any:
    """The API alone."""
    return HotPaths(api, routed_part(api))


def routed_part(api: Api, more: Sequence[Route] = (), shown_unknown: Shown = _nobody) -> Starlette:
    """All that is routed: the API, then `more` routes, and `shown_unknown` before the API's 404."""
    from understudy.api.routed import routed_app  # noqa: PLC0415 - Starlette is a third of the hub's imports

    every = [(e.path, EndpointApp(e, api), e.method) for e in ENDPOINTS]
    return routed_app(api, ENDPOINTS, every, more, shown_unknown)


TASK_ID = "{task_id}"
TASK_ID_AT = 3  # "", "api", "queue", id


PAGES_OF_DAEMONS = ("/daemons/", "/live/daemons/")
SLASHED = frozenset(
    (daemons.DAEMONS_PATH, LINK_PATH, *PAGES_OF_DAEMONS)
)  # below these a last slash may be part of a name


class HotPaths:
    """Fixed paths and those of one task are plain look-ups; everything else is the matter of `rest`."""

    def __init__(self, api: Api, rest: App) -> None:
        endpoints = {(e.method, *_words(e.path)): EndpointApp(e, api) for e in ENDPOINTS if _is_straight(e)}
        self._rest = rest
        past = PAST_ASGI if isinstance(api.hub, CallsBack) else ()
        self._past_asgi = {path.encode(): endpoints["POST", *_words(path)] for path in past}
        self._straight: dict[tuple[str, ...], App] = {**endpoints}
        for path, health in health_apps(api).items():
            self._straight |= {(method, *_words(path)): health for method in ("GET", "HEAD")}

    def __call__(self, scope: Any, receive: Any, send: Any) -> Awaitable[None]:
        """By ASGI."""
        if scope["type"] == "http":
            words = _words(scope["path"])
            if not words[-1]:  # `/api/queue/` is `/api/queue`, as in hubs before this one
                words = _without_last_slash(scope, words)
            endpoint = self._straight.get((scope["method"], *words))
            if endpoint is None and len(words) > TASK_ID_AT:
                named = (*words[:TASK_ID_AT], TASK_ID, *words[TASK_ID_AT + 1 :])
                endpoint = self._straight.get((scope["method"], *named))
                if endpoint is not None:
                    scope["path_params"] = {"task_id": words[TASK_ID_AT]}
            if endpoint is not None:
                return endpoint(scope, receive, send)
        return self._rest(scope, receive, send)

    def past_asgi(self, url: bytes, scope: Any) -> EndpointApp | None:
        """The endpoint that a POST to `url` may ask past ASGI; None if it has none, or a query, or any `%`."""
        endpoint = self._past_asgi.get(url)
        if endpoint is None and len(words := _words(url.decode("latin-1"))) > TASK_ID_AT:
            task_id, words[TASK_ID_AT] = words[TASK_ID_AT], TASK_ID
            endpoint = self._past_asgi.get("/".join(words).encode()) if is_id(task_id) else None
            if endpoint is not None:
                scope["path_params"] = {"task_id": task_id}
        return endpoint


def _words(path: str) -> list[str]:
    return path.split("/")


def _without_last_slash(scope: Any, words: list[str]) -> list[str]:
    path = scope["path"]
    if len(words) <= 2 or (any(path.startswith(name) for name in SLASHED) and path not in SLASHED):  # noqa: PLR2004
        return words
    scope["path"] = path[:-1]
    return words[:-1]


def _is_straight(endpoint: Endpoint) -> bool:
    """True if its path is fixed, but for the id of a task in its one place."""
    words = _words(endpoint.path)
    return all("{" not in word for at, word in enumerate(words) if not (at == TASK_ID_AT and word == TASK_ID))
