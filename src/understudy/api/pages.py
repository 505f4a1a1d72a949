"""The pages that need no key: health, readiness, the OpenAPI document and its page."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from html import escape
from typing import Any

import msgspec
from msgspec import UNSET
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from understudy.api.context import Api
from understudy.api.endpoint import Endpoint
from understudy.api.hub import Hub
from understudy.api.openapi import openapi_of
from understudy.clock import iso
from understudy.errors import UnderstudyError
from understudy.hub.starts import ProbeStore
from understudy.texts import t
from understudy.wire.answers.health import AlarmJson, HealthAnswer, OutboxJson, ReadyAnswer, StoreJson

ALARM_STALE_MS = 65_000
PROBE_EVERY_MS = 1_000


def page_routes(api: Api, endpoints: tuple[Endpoint, ...]) -> list[Route]:
    """The public routes."""
    routes = [Route("/health", _health(api)), Route("/ready", _ready(api))]
    if api.publishes_docs:
        document = cache(lambda: openapi_of(endpoints, api.hub.version))  # made when it is first asked for
        routes += [Route("/openapi.json", _openapi(document)), Route("/docs", _docs(document))]
    return routes


def _health(api: Api) -> Any:
    async def health(request: Request) -> Response:
        """`ok`; with `?detailed=true` the word that watchdogs of the old hub look for."""
        status = "healthy" if request.query_params.get("detailed") == "true" else "ok"
        return json_response(HealthAnswer(status, api.hub.version, iso(api.hub.started_at)))

    return health


class _Probe:
    """Tests whether the store takes a write, at most once a second."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._asked_mono = -PROBE_EVERY_MS
        self._is_writable = False
        self.unreadable = 0  # rows of the store that could not be read whole
        self.oldest_s = 0.0  # how long the oldest notice that is due waits already

    async def is_writable(self) -> bool:
        """True after a commit that wrote something."""
        now = self._hub.clock.mono_ms()
        if now - self._asked_mono >= PROBE_EVERY_MS:
            self._asked_mono = now
            try:
                await self._hub.decide(ProbeStore())
                self._is_writable = True
                self.oldest_s, self.unreadable = await self._hub.view(
                    lambda view: (view.outbox_oldest_s(), len(view.reader.unreadable.found))
                )
            except UnderstudyError:
                self._is_writable = False
        return self._is_writable


def _ready(api: Api) -> Any:
    probe = _Probe(api.hub)

    async def ready(_: Request) -> Response:
        hub = api.hub
        is_writable = await probe.is_writable()
        pulse = hub.pulse()
        is_ready = is_writable and pulse.since_ring_ms < ALARM_STALE_MS and not hub.is_draining
        store = StoreJson(is_writable, pulse.commit_ms, probe.unreadable)
        alarm = AlarmJson(pulse.lag_ms, iso(pulse.next_ring_at))
        body = ReadyAnswer(is_ready, store, alarm, OutboxJson(probe.oldest_s), hub.is_draining, hub.shown_name or UNSET)
        return json_response(body, 200 if is_ready else 503)

    return ready


def _openapi(document: Callable[[], dict[str, Any]]) -> Any:
    async def openapi(_: Request) -> Response:
        return json_response(document())

    return openapi


def _docs(document: Callable[[], dict[str, Any]]) -> Any:
    async def docs(_: Request) -> Response:
        return HTMLResponse(_page(document()))

    return docs


def _page(document: dict[str, Any]) -> str:
    rows = "\n".join(
        f"<tr><td><code>{method.upper()}</code></td><td><code>{escape(path)}</code></td>"
        f"<td>{escape(operation['summary'])}</td></tr>"
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    )
    return (
        "<!doctype html><html lang=en><meta charset=utf-8><title>understudy API</title>"
        "<style>body{font:16px system-ui;max-width:60rem;margin:2rem auto;padding:0 1rem}"
        "td{padding:.3rem .8rem .3rem 0;vertical-align:top}</style>"
        f"<h1>understudy {escape(document['info']['version'])}</h1>"
        f"<p>{escape(t('api.docs_intro'))} <a href=openapi.json>openapi.json</a></p><table>{rows}</table></html>"
    )


def json_response(body: Any, status: int = 200) -> Response:
    """`body` as a JSON response."""
    return Response(msgspec.json.encode(body), status, media_type="application/json")
