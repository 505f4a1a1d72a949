"""uvicorn's HTTP protocol with a limit on the head of a request: without one it would be kept in memory for ever."""

from __future__ import annotations

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_BYTES_MAX = 64 * 1024


class LimitedProtocol(HttpToolsProtocol):
    """Refuses a request line and headers of more than 64 KiB together (plain-text 400, CONTRACT 0)."""

    _is_in_head = False
    _head_bytes = 0

    def data_received(self, data: bytes) -> None:
        """Count what arrives while a head is incomplete; a head within one read is within the limit anyway."""
        if self._is_in_head:
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_BYTES_MAX:
                self.send_400_response("Request head too large.")
                return
        super().data_received(data)

    def on_message_begin(self) -> None:
        """A new head begins."""
        self._is_in_head, self._head_bytes = True, 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """It ends."""
        self._is_in_head = False
        super().on_headers_complete()
