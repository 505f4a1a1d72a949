"""A connection on which a test decides which bytes come in which packet."""

from __future__ import annotations

import socket
from typing import NamedTuple

from tests.api.hubs import Hub


class RawAnswer(NamedTuple):
    """One answer of a connection."""

    status: int
    head: bytes
    body: bytes


class RawLine:
    """Packets in, answers out."""

    def __init__(self, hub: Hub, within_s: float = 20) -> None:
        self._hub = hub
        self.socket = socket.create_connection(("127.0.0.1", hub.port), timeout=within_s)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._said = b""

    def send(self, *packets: bytes) -> RawLine:
        """Each of them is read by the hub before the next one is sent: a request beside them proves it."""
        for packet in packets:
            try:
                self.socket.sendall(packet)
            except ConnectionError:  # it was closed already: what was answered can be read all the same
                break
            self._hub.get("/health").of(200)
        return self

    def answers(self) -> list[RawAnswer]:
        """Every answer until the hub closes the connection."""
        self.rest()
        found = []
        while self._said:
            found.append(self._next())
        return found

    def rest(self) -> bytes:
        """What comes until the hub closes the connection, as it is."""
        while part := self._more():
            self._said += part
        return self._said

    def answer(self) -> RawAnswer:
        """The next answer."""
        while b"\r\n\r\n" not in self._said or len(self._said) < self._length():
            part = self._more()
            assert part, f"closed after {self._said!r}"
            self._said += part
        return self._next()

    def is_closed(self) -> bool:
        """Whether the hub closes it, and says nothing more before that."""
        return not self._more()

    def _more(self) -> bytes:
        try:
            return self.socket.recv(1 << 16)
        except ConnectionError:
            return b""

    def _length(self) -> int:
        head, _, _ = self._said.partition(b"\r\n\r\n")
        return len(head) + 4 + int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0] or 0)

    def _next(self) -> RawAnswer:
        whole, self._said = self._said[: self._length()], self._said[self._length() :]
        head, _, body = whole.partition(b"\r\n\r\n")
        return RawAnswer(int(head[9:12]), head.lower(), body)

    def close(self) -> None:
        """Hang up."""
        self.socket.close()
