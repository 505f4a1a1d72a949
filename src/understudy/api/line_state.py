"""The state of one connection, for others that ask it, and the pause of its reading."""

from __future__ import annotations

from typing import Any

from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEADER_BYTES = 128  # what a header takes in memory besides itself


class LineState(HttpToolsProtocol):
    """uvicorn's HTTP protocol and what is known of the requests on it."""

    _in_head = False  # its first byte has come, its end has not
    _in_body = False
    _rest = b""  # came with a request that must be answered first
    _kept = 0  # bytes of a head that is not whole
    _queued_bytes = 0  # what the requests that were sent ahead take in memory
    unread_body_bytes = 0  # of the request that is being answered, while nothing more is read

    @property
    def _is_answered(self) -> bool:
        """True if no request waits for its answer."""
        newest: Any = self.cycle  # None before the first request, whatever its type says
        return newest is None or newest.response_complete

    @property
    def _is_parting(self) -> bool:
        """True if the last request was answered before its body had come."""
        newest: Any = self.cycle  # None before the first request
        return self._in_body and newest is not None and newest.response_complete and not newest.keep_alive

    @property
    def is_idle(self) -> bool:
        """True if it is between two requests."""
        return self._is_answered and not (self._in_head or self._in_body or self.pipeline)

    @property
    def is_at_rest(self) -> bool:
        """True if it is between two requests, and what was answered is not in memory any more: it may be cut off."""
        return self.is_idle and not self.unread_bytes

    @property
    def waits_for_client(self) -> bool:
        """True if it goes on only once its client sends the rest of a head or body, or reads its answers."""
        is_unfinished = self._in_body or (self._in_head and self._is_answered)
        is_unread = self.flow.write_paused or (self._is_answered and self.unread_bytes > 0)
        return is_unread or (is_unfinished and not self.pipeline)

    @property
    def is_ahead(self) -> bool:
        """True if requests wait that its client has sent ahead of the answers to others."""
        return bool(self.pipeline or self._rest)

    @property
    def waiting_bytes(self) -> int:
        """Bytes of its requests that wait in memory."""
        head = self._kept + HEADER_BYTES * len(self.headers) if self._kept else 0
        return self._queued_bytes + len(self._rest) + head + self.unread_body_bytes

    @property
    def unread_bytes(self) -> int:
        """Bytes of answers that wait in memory for the client to read them."""
        return int(self.transport.get_write_buffer_size())


class Flow(FlowControl):
    """Reads on only when no request waits that was sent ahead: a long poll would read, and keep, more and more."""

    def __init__(self, transport: Any, line: Any) -> None:
        super().__init__(transport)
        self._line = line

    def resume_reading(self) -> None:
        """The body that has come is taken, or forgotten. Read on, unless it is too early.

        Then that is for the one that begins the last of those requests.
        """
        if self.read_paused:
            line = self._line
            line.unread_body_bytes = 0
            line.crowd.note_waiting(line, line.waiting_bytes)
            if not line.is_ahead:
                super().resume_reading()
