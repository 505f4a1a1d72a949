"""Small, frequent requests, from the parser to the hub and back by callbacks, without an ASGI task (ADR 17).

Whole requests to a few endpoints (`PAST_ASGI` in `app.py`) that show a valid key, ask for nothing else of HTTP, and
come when the one before is answered. Every other request takes the ASGI way: chunks, `Expect`, HTTP/1.0, a last
request, requests sent ahead, wrong keys. A request is admitted at the end of its head, as on that way. A claim that
may wait is asked once here: if there is nothing yet, it begins anew on the ASGI way, and waits there.
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
from understudy.hub.claims import NothingYet

UVICORN_READ = "0.54.0"  # whose insides this stands on; beside any other version every request takes the ASGI way
STATUS_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus}
Find = Callable[[bytes, Any], EndpointApp | None]


class PastAsgiProtocol(LimitedProtocol):
    """One connection, some of whose requests are answered past ASGI; all limits and deadlines are those of its base."""

    _endpoint: EndpointApp
    _request: Request | None = None  # admitted, and not whole yet
    _idle_since: float | None = None  # None: a request is under way

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
        if self._request is None:
            super().on_message_complete()
        else:
            self._ask(self._request)

    def _ask(self, request: Request) -> None:
        """Ask it of the hub."""
        self._request = None
        cycle: Any = _Cycle(self, self._endpoint, request.body, keep_alive=not self.crowd.is_ending)
        refused = self._endpoint.ask(request, cycle)
        self._in_body = False
        self._stop_timer()
        self.cycle = self._running = cycle
        self._is_over = not cycle.keep_alive
        if refused is not None:  # in the next turn of the loop: requests behind it wait, others come first
            self.loop.call_soon(cycle.send, refused)

    def goes_on_by_asgi(self, cycle: _Cycle, body: bytes) -> bool:
        """Begin a request anew on the ASGI way; False if the next one has begun, or the hub is stopping."""
        newest: Any = self.cycle
        if newest is not cycle or self._in_head or self.crowd.is_ending or self.transport.is_closing():
            return False
        cycle.response_complete = True
        super()._begin()
        self._in_body = True
        super().on_body(body)
        super().on_message_complete()
        return True

    # ---- between two requests: one timer for all of them, instead of a new one after each answer

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing to wait for any more."""
        super()._unset_keepalive_if_required()
        super().connection_lost(exc)

    def _unset_keepalive_if_required(self) -> None:
        self._idle_since = None

    def _conclude(self) -> None:
        if self.pipeline or self.transport.is_closing():
            super()._conclude()
            return
        self.server_state.total_requests += 1
        self.flow.resume_reading()
        self._idle_since = self.loop.time()
        if self.timeout_keep_alive_task is None:
            self._look_again_in(self.timeout_keep_alive)

    def _look_again_in(self, seconds: float) -> None:
        self.timeout_keep_alive_task = self.loop.call_later(seconds, self._look_at_idle)

    def _look_at_idle(self) -> None:
        """The time for the next request is over, unless one came meanwhile."""
        self.timeout_keep_alive_task = None
        if self._idle_since is None:  # its answer starts the next timer
            return
        left_s = self._idle_since + self.timeout_keep_alive - self.loop.time()
        if left_s > 0:
            self._look_again_in(left_s)
        else:
            self.timeout_keep_alive_handler()


def protocol_beside(uvicorn_version: str) -> type[LimitedProtocol]:
    """The protocol of a server on this version of uvicorn."""
    return PastAsgiProtocol if uvicorn_version == UVICORN_READ else LimitedProtocol


class _Heads:
    """The heads of the answers of one second, up to the value of the length, by status."""

    def __init__(self) -> None:
        self._default: list[tuple[bytes, bytes]] | None = None
        self._by_status: dict[int, bytes] = {}

    def of(self, status: int, default: list[tuple[bytes, bytes]]) -> bytes:
        """The head; `default` are the server's headers, which uvicorn makes anew each second, with the date."""
        if default is not self._default:
            self._default, self._by_status = default, {}
        head = self._by_status.get(status)
        if head is None:
            lines = [b"%s: %s\r\n" % header for header in (*default, JSON_TYPE)]
            head = self._by_status[status] = b"".join((STATUS_LINES[status], *lines, b"content-length: "))
        return head


_HEADS = _Heads()


class _Cycle:
    """Stands where uvicorn's own class for a request and its answer stands, and is what the hub answers to."""

    __slots__ = ("_body", "_endpoint", "_line", "disconnected", "keep_alive", "response_complete", "response_started")
    message_event = asyncio.Event()  # nobody waits for it

    def __init__(self, line: PastAsgiProtocol, endpoint: EndpointApp, body: bytes, *, keep_alive: bool) -> None:
        self._line: PastAsgiProtocol | None = line
        self._endpoint = endpoint
        self._body = body
        self.keep_alive = keep_alive
        self.disconnected = self.response_started = self.response_complete = False

    def done(self) -> bool:
        """Always ready for the answer: it is counted, also if its client is gone."""
        return False

    def set_result(self, answer: Any) -> None:
        """The hub has decided."""
        line = self._line
        if isinstance(answer, NothingYet) and line is not None and line.goes_on_by_asgi(self, self._body):
            self._line = None
        else:
            self.send(self._endpoint.answered(answer))

    def set_exception(self, trouble: BaseException) -> None:
        """The hub has refused, or has failed."""
        self.send(self._endpoint.failed(trouble))

    def send(self, response: Response) -> None:
        """Answer in one write, with the same bytes as by ASGI."""
        line, self._line = self._line, None  # else each would hold the other
        if self.disconnected or line is None:
            return
        parts = [_HEADS.of(response.status, line.server_state.default_headers), b"%d\r\n" % len(response.payload)]
        for name, value in response.headers:
            parts += (name, b": ", value, b"\r\n")
        parts += (b"\r\n" if self.keep_alive else b"connection: close\r\n\r\n", response.payload)
        line.transport.write(b"".join(parts))
        self.response_started = self.response_complete = True
        if not self.keep_alive:
            line.transport.close()
        line.on_response_complete()
