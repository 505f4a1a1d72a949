"""A response as it comes from another server: soon, past interim answers, and never more of it than was asked for.

The standard library gives each piece its whole time anew, so a server that drips holds its caller without end. It takes
`103 Early Hints` for the answer, and reads whatever comes where a chunk has a negative length.
"""

from __future__ import annotations

import io
import socket
import time
from http import HTTPStatus
from http.client import BadStatusLine, HTTPResponse, parse_headers
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

INTERIM_MAX = 10  # answers before the answer (RFC 9110, 15.2)
BYTES_A_S_MIN = 1024  # what comes more slowly than this uses up the time of the exchange


class BoundedResponse(HTTPResponse):
    """It is there within the timeout of its connection, and a second more for each KiB of it."""

    def __init__(self, sock: socket.socket, *given: Any, **named: Any) -> None:
        super().__init__(sock, *given, **named)
        timeout_s = sock.gettimeout()
        self._flow = None if timeout_s is None else _Flow(self.fp.detach(), sock, timeout_s)
        if self._flow is not None:
            self.fp = io.BufferedReader(self._flow)

    def goes_on(self, quiet_s: float) -> None:
        """From here on it may last as long as it likes: only between two pieces no more than this may pass."""
        if self._flow is not None:
            self._flow.go_on(quiet_s)

    # ---- of the standard library, in all its versions ------------------------------------------

    def _read_status(self) -> tuple[str, int, str]:
        for _ in range(INTERIM_MAX + 1):
            found: tuple[str, int, str] = super()._read_status()  # type: ignore[misc]
            status = found[1]
            if not HTTPStatus.CONTINUE <= status < HTTPStatus.OK or status == HTTPStatus.SWITCHING_PROTOCOLS:
                return found
            parse_headers(self.fp)
        raise BadStatusLine("interim answers without end")

    def _read_next_chunk_size(self) -> int:
        size: int = super()._read_next_chunk_size()  # type: ignore[misc]
        if size < 0:
            raise BadStatusLine("a chunk of negative length")
        return size

    def _read_and_discard_trailer(self) -> None:
        parse_headers(self.fp)  # at most 100


class _Flow(io.RawIOBase):
    """The bytes of a connection, with the time that is left for them."""

    def __init__(self, raw: io.RawIOBase, connection: socket.socket, timeout_s: float) -> None:
        self._raw = raw
        self._connection = connection
        self._timeout_s = timeout_s
        self._until_s: float | None = time.monotonic() + timeout_s

    def go_on(self, quiet_s: float) -> None:
        self._timeout_s, self._until_s = quiet_s, None
        self._connection.settimeout(quiet_s)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int | None:
        """The next bytes. TimeoutError if they come too late."""
        if self._until_s is None:
            return self._raw.readinto(buffer)
        left_s = self._until_s - time.monotonic()
        if left_s <= 0:
            raise TimeoutError
        self._connection.settimeout(min(left_s, self._timeout_s))
        try:
            count = self._raw.readinto(buffer)
        finally:
            self._connection.settimeout(self._timeout_s)
        self._until_s += (count or 0) / BYTES_A_S_MIN
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()
