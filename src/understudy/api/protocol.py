"""uvicorn's HTTP protocol with limits on what it keeps before our own code sees a request."""

from __future__ import annotations

from asyncio import TimerHandle
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_BYTES_MAX = 64 * 1024  # request line and headers, or trailers; and a slice more
HEAD_WITHIN_S = 30
SLICE = 32 * 1024


class LimitedProtocol(HttpToolsProtocol):
    """Refuses heads and trailers beyond 64 KiB, and a first head that is not whole after 30 s (CONTRACT 0).

    Bytes are fed in slices. A slice that neither completes a head nor brings body is kept by the parser: those in
    a row are counted. (Counting each header instead cost a tenth of a small request.)
    """

    _kept = 0
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
        if len(data) <= SLICE:
            self._feed(data)
            return
        for start in range(0, len(data), SLICE):
            self._feed(data[start : start + SLICE])
            if self.transport.is_closing():
                return

    def _feed(self, part: bytes) -> None:
        self._is_heard = False
        super().data_received(part)
        if self._is_heard:
            self._kept = 0
            return
        self._kept += len(part)
        if self._kept > HEAD_BYTES_MAX and not self.transport.is_closing():
            self.send_400_response("Request head too large.")

    def on_headers_complete(self) -> None:
        """The head is whole."""
        if self._timer is not None:
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
