"""Stand-ins for parts of a connection, which a request is given: a list for trailers, and a transport to close."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class _Trailers(list[tuple[bytes, bytes]]):
    """Takes what comes after the head and keeps nothing: trailers may be ignored (RFC 9110, 6.5.1)."""

    def append(self, _: tuple[bytes, bytes]) -> None:
        """Forget it."""


NO_TRAILERS = _Trailers()


class Parting:
    """The transport of a request: its end waits for the rest of a body that was answered early."""

    __slots__ = ("close", "is_closing", "write")

    def __init__(self, transport: Any, close: Callable[[], None]) -> None:
        self.write, self.is_closing, self.close = transport.write, transport.is_closing, close
