"""`/health` and `/ready`: they need no key, and load nothing of the routed application.

The routed application has the pages and the rare endpoints, which many hubs never need. Those who start or watch a hub
request these two again and again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from msgspec import UNSET, Struct

from understudy.api.context import Api
from understudy.api.hub import Hub
from understudy.api.respond import respond, send_response
from understudy.api.shared import Shared
from understudy.clock import iso
from understudy.errors import UnderstudyError
from understudy.hub.starts import ProbeStore
from understudy.wire.answers.health import AlarmJson, HealthAnswer, OutboxJson, ReadyAnswer, StoreJson

ALARM_STALE_MS = 65_000
PROBE_EVERY_MS = 1_000
PROBE_MAX_S = 5  # shorter than what a watchdog commonly waits; a disk or database that hangs is not writable
DETAILED = b"detailed=true"
Answer = Callable[[Any], Awaitable[tuple[int, Struct]]]


def health_apps(api: Api) -> dict[str, HealthApp]:
    """The applications by path."""
    answers = {"/health": _health(api), "/ready": _ready(api)}
    return {path: HealthApp(api, path, answer) for path, answer in answers.items()}


class HealthApp:
    """One of them as an ASGI application."""

    def __init__(self, api: Api, path: str, answer: Answer) -> None:
        self._api = api
        self._path = path
        self._answer = answer
        self._answered = api.requests.of("GET", path)

    async def __call__(self, scope: Any, _: Any, send: Any) -> None:
        """Answer."""
        try:
            status, body = await self._answer(scope)
        except Exception as bug:  # noqa: BLE001 - the outermost place of a request
            self._answered[500] += 1
            await send_response(send, self._api.internal_error(f"GET {self._path}", bug))
            return
        self._answered[status] += 1
        await respond(send, status, body)


def _health(api: Api) -> Answer:
    async def health(scope: Any) -> tuple[int, HealthAnswer]:
        """`ok`; with `?detailed=true` the word that watchdogs of the old hub look for."""
        status = "healthy" if DETAILED in scope["query_string"].split(b"&") else "ok"
        return 200, HealthAnswer(status, api.hub.version, iso(api.hub.started_at))

    return health


class _Probe:
    """Tests whether the store takes a write, at most once a second; all who ask meanwhile share the outcome."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._written = Shared(hub.clock, PROBE_EVERY_MS, self._write)
        self.unreadable = 0  # rows of the store that could not be read whole
        self.oldest_s = 0.0  # how long the oldest notice that is due waits already

    async def is_writable(self) -> bool:
        """True after a commit that wrote something; False if the store refuses, or has not answered in time."""
        written = self._written.task()
        await asyncio.wait({written}, timeout=PROBE_MAX_S)  # it cancels nothing
        return written.done() and written.result()

    async def _write(self) -> bool:
        try:
            await self._hub.decide(ProbeStore())
            self.oldest_s, self.unreadable = await self._hub.view(
                lambda view: (view.outbox_oldest_s(), len(view.reader.unreadable.found))
            )
        except UnderstudyError:
            return False
        return True


def _ready(api: Api) -> Answer:
    probe = _Probe(api.hub)

    async def ready(_: Any) -> tuple[int, ReadyAnswer]:
        hub = api.hub
        is_writable = await probe.is_writable()
        pulse = hub.pulse()
        is_ready = is_writable and pulse.since_ring_ms < ALARM_STALE_MS and not hub.is_draining
        store = StoreJson(is_writable, pulse.commit_ms, probe.unreadable)
        alarm = AlarmJson(pulse.lag_ms, iso(pulse.next_ring_at))
        body = ReadyAnswer(is_ready, store, alarm, OutboxJson(probe.oldest_s), hub.is_draining, hub.shown_name or UNSET)
        return 200 if is_ready else 503, body

    return ready
