"""The ASGI application: the table of endpoints behind keys and limits; the hot paths go straight to it.

What is routed by Starlette is in `routed`, which a host may leave unread until somebody asks for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import cache, partial
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from understudy.api import daemons, notices, overview, records, sessions, takeover, tasks
from understudy.api.connections import BodyRoom
from understudy.api.context import Api
from understudy.api.endpoint import Endpoint, Request, check_path
from understudy.api.health import health_apps
from understudy.api.long_poll import wait_for_work
from understudy.api.request_counts import counted_send
from understudy.api.respond import INTERNAL, ClientGoneError, encoded, read_body, respond, respond_error
from understudy.api.streams import stream_events
from understudy.errors import ForbiddenError, UnderstudyError
from understudy.hub.claims import ClaimTasks
from understudy.hub.keys import KeyChange
from understudy.hub.messages import LINK_PATH

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
QUERY_FIELDS_MAX = 50
UNAVAILABLE_STATUS = 503
READ_AT_ONCE_BYTES = 32 << 10
BYTES_A_TASK = 16 << 10  # writing so much takes as long as a task does


def endpoint_named(method: str, path: str) -> Endpoint:
    """The row of the table; KeyError if there is none."""
    for endpoint in ENDPOINTS:
        if (endpoint.method, endpoint.path) == (method, path):
            return endpoint
    raise KeyError(f"{method} {path}")


class EndpointApp:
    """One endpoint as an ASGI application."""

    def __init__(self, endpoint: Endpoint, api: Api) -> None:
        self.endpoint = endpoint
        self.api = api
        self._answered = api.requests.of(endpoint.method, endpoint.path)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one request; every error of ours becomes its response here and nowhere else."""
        endpoint = self.endpoint
        room = BodyRoom(scope.get("connection"))
        try:
            request = await self._request(scope, receive, room)
            if endpoint.follows:
                counted = counted_send(self._answered, send)
                await stream_events(self.api.hub, request, self._welcome(request), scope, receive, counted)
                return
            answer = await self._answer(request, receive)
            if isinstance(answer, UnderstudyError):  # a refusal that kept something (evidence, an event)
                self._answered[answer.status] += 1
                await respond_error(send, answer)
                return
            shown = endpoint.shown(answer)
            status = endpoint.status_of(shown)
            self._answered[status] += 1
            await respond(send, status, shown)
        except UnderstudyError as error:
            self._answered[error.status] += 1
            self._note(error.status)
            await self.api.hold(error)
            await respond_error(send, error)
        except ClientGoneError:
            return
        except Exception as bug:  # noqa: BLE001 - the outermost place of a request
            self._answered[500] += 1
            self.api.hub.log.emit("critical", "API", f"Internal error in {endpoint.method} {endpoint.path}: {bug!r}")
            await respond(send, 500, INTERNAL)
        finally:
            if room.held_bytes:
                room.give_back()

    def _note(self, status: int) -> None:
        """A sign of life that this hub could not take: it is the hub that was deaf, not the daemon that was silent."""
        if status == UNAVAILABLE_STATUS and not (self.endpoint.is_limited or self.endpoint.waits):
            self.api.hub.missed_a_sign()

    async def _request(self, scope: Any, receive: Any, room: BodyRoom) -> Request:
        """Key, then rate limit, then path id, then body: the first that fails answers."""
        endpoint, api = self.endpoint, self.api
        caller = api.caller(scope)
        room.establish(caller.key_id)
        if not caller.may(*endpoint.scopes):
            raise ForbiddenError(code="scope")
        if endpoint.is_limited:
            api.limit.take(caller.key_id)
        query = scope["query_string"]
        request = Request(
            caller,
            scope.get("path_params") or {},
            _query(query) if query else {},
            b"",
            api.hub.clock.now_ms(),
            api.hub.ids,
            _header(scope, b"idempotency-key") if endpoint.method == "POST" else "",
            api.redactor,
        )
        if request.path:
            check_path(request)
        if endpoint.method != "GET":
            request.body = await read_body(scope, receive, min(endpoint.body_max, api.body_bytes_max), room)
        return request

    def _welcome(self, request: Request) -> Callable[[], bool]:
        """Admit the caller → a test that its key is still valid, for requests that wait long."""
        return partial(self.api.keys.is_valid, request.caller.key_id)

    async def _answer(self, request: Request, receive: Any) -> Any:
        endpoint, hub = self.endpoint, self.api.hub
        if endpoint.show is not None:
            show = endpoint.show
            if endpoint.searches is not None and endpoint.searches(request):
                return await hub.search(request.caller.key_id, lambda view: encoded(show(request, view)))
            return await hub.view(lambda view: encoded(show(request, view)), request.caller.key_id)
        assert endpoint.make is not None
        if len(request.body) <= READ_AT_ONCE_BYTES:
            operation = endpoint.make(request)
        else:  # checking, parsing and cleaning it takes long: nobody else waits for it
            operation = await asyncio.get_running_loop().run_in_executor(None, endpoint.make, request)
        operation.weight += len(request.body) // BYTES_A_TASK
        if isinstance(operation, ClaimTasks) and operation.body.wait_sec:
            return await wait_for_work(hub, operation, self._welcome(request), receive)
        answer = await hub.decide(operation)
        if isinstance(operation, KeyChange):  # in force before the answer is sent
            await self.api.load_keys()
        return answer


def _query(raw: bytes) -> dict[str, str]:
    try:
        return dict(parse_qsl(raw.decode("latin-1"), keep_blank_values=True, max_num_fields=QUERY_FIELDS_MAX))
    except ValueError:
        return {}


def _header(scope: Any, wanted: bytes) -> str:
    for name, value in scope["headers"]:
        if name == wanted:
            return str(value.decode("latin-1"))
    return ""


async def _nobody(_: Any, __: Any, ___: Any) -> bool:
    return False


def build_app(api: Api, *, routes_late: bool = False) -> Any:
    """The API alone. `routes_late`: for a host that pays for each start, and is asked little more than hot paths."""
    routed = cache(partial(routed_part, api))
    if not routes_late:
        routed()

    def rest(scope: Any, receive: Any, send: Any) -> Awaitable[None]:
        return routed()(scope, receive, send)

    return with_hot_paths(api, rest)


def routed_part(api: Api, more: Sequence[Route] = (), shown_unknown: Shown = _nobody) -> Starlette:
    """All that is routed: the API, then `more` routes, and `shown_unknown` before the API's 404."""
    from understudy.api.routed import routed_app  # noqa: PLC0415 - Starlette is a third of the hub's imports

    every = [(e.path, EndpointApp(e, api), e.method) for e in ENDPOINTS]
    return routed_app(api, ENDPOINTS, every, more, shown_unknown)


def with_hot_paths(api: Api, rest: App) -> App:
    """Fixed paths and those of one task are plain look-ups; everything else is the matter of `rest`."""
    straight: dict[tuple[str, ...], App] = {
        (e.method, *_words(e.path)): EndpointApp(e, api) for e in ENDPOINTS if _is_straight(e)
    }
    for path, health in health_apps(api).items():
        straight |= {(method, *_words(path)): health for method in ("GET", "HEAD")}

    def entry(scope: Any, receive: Any, send: Any) -> Awaitable[None]:
        if scope["type"] == "http":
            words = _words(scope["path"])
            if not words[-1]:  # `/api/queue/` is `/api/queue`, as in hubs before this one
                words = _without_last_slash(scope, words)
            endpoint = straight.get((scope["method"], *words))
            if endpoint is None and len(words) > TASK_ID_AT:
                named = (*words[:TASK_ID_AT], TASK_ID, *words[TASK_ID_AT + 1 :])
                endpoint = straight.get((scope["method"], *named))
                if endpoint is not None:
                    scope["path_params"] = {"task_id": words[TASK_ID_AT]}
            if endpoint is not None:
                return endpoint(scope, receive, send)
        return rest(scope, receive, send)

    return entry


TASK_ID = "{task_id}"
TASK_ID_AT = 3  # "", "api", "queue", id


PAGES_OF_DAEMONS = ("/daemons/", "/live/daemons/")
SLASHED = frozenset(
    (daemons.DAEMONS_PATH, LINK_PATH, *PAGES_OF_DAEMONS)
)  # below these a last slash may be part of a name


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
