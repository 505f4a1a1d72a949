"""HTTP that the hub itself asks for: pure values, made by channels and the Claude executor, sent by one transport."""

from __future__ import annotations

from msgspec import Struct


class HttpRequest(Struct, frozen=True):
    """One request to somebody else's server; `url` and `headers` may hold secrets and are never logged."""

    method: str
    url: str
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    timeout_ms: int = 10_000  # for the whole exchange, connection included


class HttpAnswer(Struct, frozen=True):
    """What came back; header names in lower case, `body` cut at the transport's limit."""

    status: int
    headers: dict[str, str] = {}
    body: bytes = b""


class NoAnswer(Struct, frozen=True):
    """Nothing came back: refused, cut, or too slow. It may have arrived all the same."""

    reason: str
