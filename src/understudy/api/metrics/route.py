"""`GET /metrics` for a key with the scope `read`; scrapes share one read of the store, in a queue of their own."""

from __future__ import annotations

import asyncio
import re
from functools import partial
from gzip import compress
from typing import Any

from starlette.routing import Route

from understudy.api.connections import BodyRoom
from understudy.api.context import Api
from understudy.api.metrics.table import ProcessFacts
from understudy.api.respond import respond_error, send_response
from understudy.errors import ForbiddenError, UnderstudyError
from understudy.hub.measured import Measured, measured

PATH = "/metrics"
LINE = "metrics"  # a line of reads of their own: a scrape never stands before anybody, nor behind
STORE_WITHIN_S = 5.0  # scrapers give up after 10
SCOPE = "read"
_NOT_WANTED = re.compile(r"q=0(\.0{0,3})?$")


def metrics_route(api: Api) -> Route:
    """The page."""
    return Route(PATH, _Metrics(api), methods=["GET"])


class _Metrics:
    """The page as an ASGI application."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._read: asyncio.Future[Measured] | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one scrape."""
        try:
            await self._admit(scope)
            await self._answer(scope, send)
        except UnderstudyError as error:
            await self._api.hold(error)
            await respond_error(send, error)
        except Exception as bug:  # noqa: BLE001 - the outermost place of a request
            await send_response(send, self._api.internal_error(f"GET {PATH}", bug))

    async def _admit(self, scope: Any) -> None:
        """Key, then rate limit: the first that fails answers."""
        caller = await self._api.caller(scope)
        BodyRoom(scope.get("connection")).establish(caller.key_id)
        if not caller.may(SCOPE):
            raise ForbiddenError(code="scope")
        self._api.limit.take(caller.key_id)

    async def _answer(self, scope: Any, send: Any) -> None:
        facts = await self._measured()
        is_openmetrics = accepts(scope, b"accept", "application/openmetrics-text")
        is_gzip = accepts(scope, b"accept-encoding", "gzip")
        make = partial(_page, self._process(facts), facts, is_openmetrics=is_openmetrics, is_gzip=is_gzip)
        kind, payload = await asyncio.get_running_loop().run_in_executor(None, make)
        headers = [
            (b"content-type", kind.encode()),
            (b"content-length", str(len(payload)).encode()),
            (b"vary", b"Accept, Accept-Encoding"),
            (b"cache-control", b"no-store"),
            *([(b"content-encoding", b"gzip")] if is_gzip else []),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": payload})

    async def _measured(self) -> Measured | None:
        """The numbers of the store; None if it fails, or does not answer in time.

        Scrapes of the same moment share one read, and one that hangs is waited for and not begun again: threads that
        read are few.
        """
        if self._read is None or self._read.done():
            self._read = asyncio.ensure_future(self._api.hub.view(measured, LINE))
            self._read.add_done_callback(_looked_at)
        read = self._read
        await asyncio.wait((read,), timeout=STORE_WITHIN_S)
        if not read.done() or read.cancelled():
            return None
        trouble = read.exception()
        if trouble is not None and not isinstance(trouble, UnderstudyError):
            raise trouble
        return read.result() if trouble is None else None

    def _process(self, facts: Measured | None) -> ProcessFacts:
        """The facts of this process, taken on the event loop, where most of them are counted."""
        hub, counted = self._api.hub, self._api.hub.counted()
        is_store_up = facts is not None and not counted.is_failing
        return ProcessFacts(
            counted,
            hub.pulse(),
            self._api.requests.copy(),
            hub.waiting.count,
            len(hub.feed.followers),
            hub.version,
            is_store_up,
        )


def _looked_at(read: asyncio.Future[Measured]) -> None:
    """Whatever it came to, asyncio need not complain that nobody waited for it."""
    if not read.cancelled():
        read.exception()


def _page(process: ProcessFacts, facts: Measured | None, *, is_openmetrics: bool, is_gzip: bool) -> tuple[str, bytes]:
    """Its type and content. Prometheus's client is imported here, by a thread, because few hubs are ever scraped."""
    from understudy.api.metrics import exposition  # noqa: PLC0415 - it would make every start slower

    payload = exposition.page_of(process, facts, is_openmetrics=is_openmetrics)
    kind = exposition.OPENMETRICS if is_openmetrics else exposition.TEXT
    return kind, compress(payload, 5, mtime=0) if is_gzip else payload


def accepts(scope: Any, header: bytes, wanted: str) -> bool:
    """True if a header lists this word, and does not refuse it by `q=0`."""
    lines = (value.decode("latin-1").lower() for name, value in scope["headers"] if name == header)
    for part in ",".join(lines).split(","):
        word, *parameters = (piece.strip() for piece in part.split(";"))
        if word == wanted:
            return not any(_NOT_WANTED.match(parameter) for parameter in parameters)
    return False
