"""The part that Starlette routes: endpoints with names in their path, the pages, and unknown paths."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.routing import BaseRoute, Mount, Route

from understudy.api.context import Api
from understudy.api.endpoint import Endpoint
from understudy.api.fields import check_fields
from understudy.api.links import link_routes
from understudy.api.metrics.route import metrics_route
from understudy.api.pages import page_routes
from understudy.api.request_counts import Answered, counted_send
from understudy.api.respond import refusal_of, respond_error, send_response
from understudy.errors import BadRequestError, NotFoundError, UnderstudyError

Shown = Callable[[Any, Any, Any], Awaitable[bool]]  # an ASGI application that may leave a request to others


def routed_app(
    api: Api,
    endpoints: tuple[Endpoint, ...],
    apps: Iterable[tuple[str, Any, str]],
    more: Sequence[Route],
    shown_unknown: Shown,
) -> Starlette:
    """The application; `apps` are the endpoints as path, ASGI application and method."""
    pages = [*page_routes(api, endpoints), *link_routes(api), metrics_route(api), *more]
    watch(api, pages)
    routes = [*(Route(path, app, methods=[method]) for path, app, method in apps), *pages]

    async def unknown(_: Request, __: Exception) -> Any:
        return _Unknown(api, shown_unknown)

    app = Starlette(routes=routes, exception_handlers={HTTPException: unknown})
    app.router.redirect_slashes = False
    return app


def watch(api: Api, routes: Iterable[BaseRoute]) -> None:
    """Count the answers of pages, and answer their bugs, which they do not do themselves: behind all these routes."""
    counts = api.requests
    for route in routes:
        if isinstance(route, (Route, Mount)):
            methods = (getattr(route, "methods", None) or {"GET"}) - {"HEAD"}
            route.app = _Watched(api, route.path, route.app, {m: counts.of(m, route.path) for m in methods})


class _Watched:
    """An application whose answers are counted as they begin, and whose bugs are answered and logged.

    Its query has no more fields than others may have: Starlette would read any number.
    """

    def __init__(self, api: Api, path: str, app: Any, by_method: dict[str, Answered]) -> None:
        self._api = api
        self._path = path
        self._app = app
        self._by_method = by_method

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Pass it on; HEAD is a GET whose answer has no body."""
        method = "GET" if scope["method"] == "HEAD" else scope["method"]
        counted = counted_send(self._by_method.get(method, self._api.requests.unknown), send)
        has_begun = False

        async def begun(message: Any) -> None:
            nonlocal has_begun
            has_begun = True
            await counted(message)

        try:
            check_fields(scope.get("query_string", b""))
        except BadRequestError as error:
            await send_response(counted, refusal_of(error))
            return
        try:
            await self._app(scope, receive, begun)
        except HTTPException:  # Starlette's own, for what it does not know
            raise
        except Exception as bug:
            response = self._api.internal_error(f"{method} {self._path}", bug)
            if has_begun:  # what is missing of the answer is not made up: its connection ends
                raise
            await send_response(counted, response)


class _Unknown:
    """Unknown routes and methods: 404, but 401 without a key."""

    def __init__(self, api: Api, shown: Shown) -> None:
        self._api = api
        self._shown = shown

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer."""
        if await self._shown(scope, receive, counted_send(self._api.requests.unknown, send)):
            return
        error: UnderstudyError = NotFoundError()
        try:
            await self._api.caller(scope)
        except UnderstudyError as refused:
            error = refused
        self._api.requests.unknown[error.status] += 1
        await self._api.hold(error)
        await respond_error(send, error)
