"""Small requests of daemons, from the parser to the hub and back by callbacks, without an ASGI task (ADR 17).

Whole requests to a few endpoints (`PAST_ASGI` in `app.py`) that show a valid key, ask for nothing else of HTTP, and
come when the one before is answered. Every other request takes the ASGI way: chunks, `Expect`, HTTP/1.0, a last
request, requests sent ahead, long polls, wrong keys. A request is admitted at the end of its head, as on that way.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from understudy.api.connections import Connections
from understudy.api.endpoint import Request
from understudy.api.endpoint_app import EndpointApp
from understudy.api.protocol import LimitedProtocol
from understudy.api.respond import JSON_TYPE, Response

UVICORN_READ = "0.54.0"  # whose insides this stands on; beside any other version every request takes the ASGI way
STATUS_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus}
Find = Callable[[bytes, Any], EndpointApp | None]


class PastAsgiProtocol(LimitedProtocol):
    """One connection, some of whose requests are answered past ASGI; all limits and deadlines are those of its base."""

    _endpoint: EndpointApp
    _request: Request | None = None  # admitted, and not whole yet

    def __init__(self, crowd: Connections, *args: Any, **more: Any) -> None:
        super().__init__(crowd, *args, **more)
        self._find: Find | None = getattr(self._answer, "past_asgi", None)  # another application has no such way

    def _begin(self) -> None:
        self._request = self._admitted()
        if self._request is None:
            super()._begin()

    def _admitted(self) -> Request | None:
        """The request, if its head allows the way past ASGI."""
        parser = self.parser
        if parser.get_method() != b"POST" or not self._is_answered or self._find is None:
            return None
        if parser.get_http_version() != "1.1" or not parser.should_keep_alive() or self.expect_100_continue:
            return None
        if self.crowd.is_ending or self.flow.write_paused:
            return None
        endpoint = self._find(self.url, self.scope)
        if endpoint is None:
            return None
        self._endpoint = endpoint
        return endpoint.admitted(self.scope)

    def on_body(self, body: bytes) -> None:
        """Keep it: it is small, see `PAST_ASGI_BYTES_MAX`."""
        if self._request is None:
            super().on_body(body)
            return
        self._is_heard = True
        self._body_bytes += len(body)
        self._request.body += body

    def on_message_complete(self) -> None:
        """The request is whole."""
        if self._request is None or not self._is_asked(self._request):
            super().on_message_complete()

    def _is_asked(self, request: Request) -> bool:
        """Ask it of the hub; False if it is for ASGI after all, which gets all that has come."""
        self._request = None
        asked = self._endpoint.ask(request)
        if asked is None:
            super()._begin()
            super().on_body(request.body)
            return False
        self._in_body = False
        self._stop_timer()
        cycle: Any = _Cycle(self, self._endpoint, keep_alive=not self.crowd.is_ending)
        self.cycle = self._running = cycle
        self._is_over = not cycle.keep_alive
        if isinstance(asked, Response):  # in the next turn of the loop: requests behind it wait, others come first
            self.loop.call_soon(cycle.send, asked)
        else:
            asked.add_done_callback(cycle.send_concluded)
        return True


def protocol_beside(uvicorn_version: str) -> type[LimitedProtocol]:
    """The protocol of a server on this version of uvicorn."""
    return PastAsgiProtocol if uvicorn_version == UVICORN_READ else LimitedProtocol


class _Cycle:
    """Stands where uvicorn's own class for a request and its answer stands."""

    __slots__ = ("_endpoint", "_line", "disconnected", "keep_alive", "response_complete", "response_started")
    message_event = asyncio.Event()  # nobody waits for it

    def __init__(self, line: PastAsgiProtocol, endpoint: EndpointApp, *, keep_alive: bool) -> None:
        self._line: PastAsgiProtocol | None = line
        self._endpoint = endpoint
        self.keep_alive = keep_alive
        self.disconnected = self.response_started = self.response_complete = False

    def send_concluded(self, decided: asyncio.Future[Any]) -> None:
        """The hub has decided."""
        self.send(self._endpoint.concluded(decided))

    def send(self, response: Response) -> None:
        """Answer in one write, with the same bytes as by ASGI."""
        line, self._line = self._line, None  # else each would hold the other
        if self.disconnected or line is None:
            return
        length = (b"content-length", b"%d" % len(response.payload))
        parts = [STATUS_LINES[response.status]]
        for name, value in (*line.server_state.default_headers, JSON_TYPE, length, *response.headers):
            parts += (name, b": ", value, b"\r\n")
        parts += (b"\r\n" if self.keep_alive else b"connection: close\r\n\r\n", response.payload)
        line.transport.write(b"".join(parts))
        self.response_started = self.response_complete = True
        if not self.keep_alive:
            line.transport.close()
        line.on_response_complete()
