"""One request between `fetch` and an ASGI application, without JavaScript: what the application reads and says.

A client that hangs up ends the reading (`http.disconnect`), so a poll that nobody waits for is given no task.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing
from typing import Any, Protocol
from urllib.parse import quote, unquote, urlsplit

Headers = list[tuple[str, str]]
GONE = 499  # nobody reads it; nginx's number for a client that has hung up
CLIENT = "cf-connecting-ip"  # set by Cloudflare, whatever a client sends under that name
READ_AT_ONCE_BYTES = 1 << 20  # of a body; a larger one, or one of unknown size, is read bit by bit
_ASCII = bytes(range(128)).decode()
_SIZE_DIGITS_MAX = len(str(READ_AT_ONCE_BYTES))


class BodyWriter(Protocol):
    """The body of an answer that is sent bit by bit."""

    async def write(self, part: bytes) -> None:
        """Wait until there is room; an exception once nobody reads it."""
        ...

    async def close(self) -> None:
        """That was all."""
        ...


class Responses(Protocol):
    """Makes answers of the place."""

    def whole(self, status: int, headers: Headers, body: bytes) -> Any:
        """An answer at once."""
        ...

    def begun(self, status: int, headers: Headers) -> tuple[Any, BodyWriter]:
        """An answer whose body is written later."""
        ...


class FetchExchange:
    """One request and its answer."""

    def __init__(self, scope: dict[str, Any], body: AsyncIterator[bytes], responses: Responses) -> None:
        self.scope = scope
        self._body: AsyncIterator[bytes] | None = body
        self._responses = responses
        loop = asyncio.get_running_loop()
        self._gone: asyncio.Future[None] = loop.create_future()
        self._answer: asyncio.Future[Any] = loop.create_future()
        self._status, self._headers = 500, Headers()
        self._writer: BodyWriter | None = None

    def hang_up(self, *_: Any) -> None:
        """The client is gone."""
        if not self._gone.done():
            self._gone.set_result(None)

    async def answered(self, app: Any, keep: Callable[[asyncio.Task[None]], None]) -> Any:
        """The answer, as soon as it is whole or begun; `keep` is given what may go on behind it."""
        task: asyncio.Task[None] = asyncio.get_running_loop().create_task(self._run(app))
        keep(task)
        await asyncio.wait((task, self._answer), return_when=asyncio.FIRST_COMPLETED)
        if self._answer.done():
            return self._answer.result()
        await task  # raises what it ended with
        return self._responses.whole(GONE, [], b"")

    async def _run(self, app: Callable[..., Awaitable[None]]) -> None:
        try:
            await app(self.scope, self._receive, self._send)
        finally:
            if self._writer is not None:
                await self._close(self._writer)

    async def _receive(self) -> dict[str, Any]:
        if self._body is not None and not self._gone.done():
            try:
                async for part in self._body:
                    return {"type": "http.request", "body": part, "more_body": True}
            except Exception:  # noqa: BLE001 - whatever JavaScript throws for a body that breaks off
                self.hang_up()
            else:
                self._body = None
                return {"type": "http.request", "body": b"", "more_body": False}
        await asyncio.shield(self._gone)
        return {"type": "http.disconnect"}

    async def _send(self, message: Mapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self._status = message["status"]
            self._headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in message["headers"]]
            return
        await self._send_body(message.get("body", b""), is_last=not message.get("more_body", False))

    async def _send_body(self, part: bytes, *, is_last: bool) -> None:
        if self._writer is None and is_last:
            if not self._answer.done():
                self._answer.set_result(self._responses.whole(self._status, self._headers, part))
            return
        if self._writer is None:
            answer, self._writer = self._responses.begun(self._status, self._headers)
            self._answer.set_result(answer)
        if part and not self._gone.done():
            await self._written(self._writer, part)

    async def _written(self, writer: BodyWriter, part: bytes) -> None:
        """Nobody reads it any more: that is the end of the request, and no fault."""
        try:
            await writer.write(part)
        except Exception:  # noqa: BLE001 - whatever JavaScript throws
            self.hang_up()

    async def _close(self, writer: BodyWriter) -> None:
        if self._gone.done():
            return
        try:
            await writer.close()
        except Exception:  # noqa: BLE001 - as above
            self.hang_up()


def scope_of(method: str, url: str, headers: Mapping[str, str]) -> dict[str, Any]:
    """The scope of a request; its client is the one that Cloudflare names."""
    parts = urlsplit(url)
    path = parts.path or "/"
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": method,
        "scheme": parts.scheme,
        "path": unquote(path),
        "raw_path": _escaped(path),
        "query_string": _escaped(parts.query),
        "root_path": "",
        "headers": [(name.lower().encode("latin-1"), _sent(value)) for name, value in headers.items()],
        "server": (parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)),
        "client": (headers.get(CLIENT, ""), 0),
    }


def is_short(headers: Mapping[str, str]) -> bool:
    """True if a body is said to be so short that it may be read at once; one that comes packed may be of any length."""
    size = headers.get("content-length", "")
    is_number = size.isascii() and size.isdigit() and len(size) <= _SIZE_DIGITS_MAX
    return is_number and int(size) <= READ_AT_ONCE_BYTES and not headers.get("content-encoding")


async def first_of(body: AsyncGenerator[bytes, None], bytes_max: int, read: bytearray) -> None:
    """Read the first bytes of a body; what comes behind them is not read."""
    async with aclosing(body):
        async for part in body:
            read += part[: bytes_max - len(read)]
            if len(read) == bytes_max:
                break


def _sent(value: str) -> bytes:
    """A header's bytes as they were sent: workerd reads them as UTF-8."""
    return value.encode("utf-8", "replace")


def _escaped(text: str) -> bytes:
    """A part of an address as it should have been sent: workerd takes one that is no ASCII, and gives it as text."""
    return quote(text, safe=_ASCII, errors="replace").encode()
