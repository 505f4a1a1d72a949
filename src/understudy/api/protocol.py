"""uvicorn's HTTP protocol with limits on what it keeps before our own code sees a request."""

from __future__ import annotations

from asyncio import TimerHandle
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_BYTES_MAX = 64 * 1024  # request line, headers and trailers together
HEAD_WITHIN_S = 30
SLICE = 32 * 1024


class LimitedProtocol(HttpToolsProtocol):
    """Refuses heads and trailers beyond 64 KiB, and a first head that is not whole after 30 s (CONTRACT 0).

    Bytes are fed in slices. Whatever the parser keeps to itself, because it is neither body nor complete, is
    counted, and so are the complete lines; both counts begin anew with each request.
    """

    _kept = 0
    _lines = 0
    _is_heard = False
    _timer: TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Wait for the first head, but not for ever."""
        super().connection_made(transport)
        self._timer = self.loop.call_later(HEAD_WITHIN_S, self._give_up)

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing to wait for any more."""
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Feed what came in slices, and stop when the parser keeps too much."""
        for start in range(0, len(data), SLICE):
            part = data[start : start + SLICE]
            self._is_heard = False
            super().data_received(part)
            self._kept = 0 if self._is_heard else self._kept + len(part)
            if self.transport.is_closing():
                return
            if self._kept > HEAD_BYTES_MAX or self._lines > HEAD_BYTES_MAX:
                self.send_400_response("Request head too large.")
                return

    def on_message_begin(self) -> None:
        """A new head begins."""
        self._lines = 0
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        """A piece of the request line."""
        self._lines += len(url)
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """A whole header, or trailer."""
        self._lines += len(name) + len(value)
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The head is whole."""
        self._stop_timer()
        self._is_heard = True
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Body is not kept here: it is read, and limited, by who answers."""
        self._is_heard = True
        super().on_body(body)

    def _give_up(self) -> None:
        self.transport.close()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
