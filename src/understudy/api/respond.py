"""Answers and errors as HTTP responses, in one place."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Raw, Struct, structs

from understudy.api.connections import SMALL_BYTES, BodyRoom
from understudy.errors import TooLargeError, UnderstudyError

Send = Any
Receive = Any
Scope = Any
Headers = tuple[tuple[bytes, bytes], ...]
JSON_TYPE = (b"content-type", b"application/json")
_encode = msgspec.json.Encoder().encode
PARTS_MAX = 10_000  # of a list; more of them are small
INTERNAL = {"error": "Internal error"}


class ClientGoneError(Exception):
    """Nobody is there any more to answer."""


class Encoded(Struct, frozen=True):
    """A body that is JSON already: a large one was made so by the thread that read it, not by the event loop."""

    payload: bytes


def encoded(body: Struct | Raw) -> Encoded:
    """The body as JSON. The items of a long list are encoded one by one: in between other threads get their turn."""
    if isinstance(body, Raw):
        return Encoded(bytes(body))
    lists = {name: value for name, value in structs.asdict(body).items() if isinstance(value, list)}
    return Encoded(_encode(structs.replace(body, **{name: _one_by_one(items) for name, items in lists.items()})))


def _one_by_one(items: list[Any]) -> list[Any]:
    return [Raw(_encode(item)) for item in items] if len(items) < PARTS_MAX else items


class Response(Struct, frozen=True):
    """An answer as it is sent; all of them are JSON."""

    status: int
    payload: bytes
    headers: Headers = ()


def response_of(status: int, body: Any, headers: Headers = ()) -> Response:
    """`body` as JSON; what may be large is encoded elsewhere, see `Encoded`."""
    return Response(status, body.payload if isinstance(body, Encoded) else _encode(body), headers)


def refusal_of(error: UnderstudyError) -> Response:
    """An error of ours; the same shape for all (`ErrorAnswer`).

    Its fields are sent as they are: the error tree is used by rooms below `wire` too.
    """
    headers: Headers = ()
    if "retryAfter" in error.fields:
        headers = ((b"retry-after", str(error.fields["retryAfter"]).encode()),)
    if error.status == 401:  # noqa: PLR2004
        headers = ((b"www-authenticate", b"Bearer"),)
    message = error.message if error.status != 503 else error.message.partition(":")[0]  # noqa: PLR2004
    return response_of(error.status, {"error": message, **error.fields}, headers)


async def send_response(send: Send, response: Response) -> None:
    """Send it by ASGI."""
    length = (b"content-length", str(len(response.payload)).encode())
    headers = [JSON_TYPE, length, *response.headers]
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    await send({"type": "http.response.body", "body": response.payload})


async def respond(send: Send, status: int, body: Any) -> None:
    """Send `body` as JSON."""
    await send_response(send, response_of(status, body))


async def respond_error(send: Send, error: UnderstudyError) -> None:
    """Send an error of ours."""
    await send_response(send, refusal_of(error))


def length_of(scope: Scope) -> int:
    """The length that a request announces for its body, in bytes; -1 if it announces none."""
    for name, value in scope["headers"]:
        if name == b"content-length":
            return int(value.lstrip(b"0") or b"0") if value.isdigit() else -1  # `int` refuses thousands of digits
    return -1


async def read_body(scope: Scope, receive: Receive, limit: int, room: BodyRoom) -> bytes:
    """The whole body; TooLargeError beyond `limit` bytes, ClientGoneError if it never arrives whole.

    UnavailableError while too much of other large bodies is in memory.
    """
    if length_of(scope) > limit:
        raise TooLargeError(limit)
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGoneError
        part: bytes = message.get("body", b"")
        size += len(part)
        if size > limit:
            raise TooLargeError(limit)
        if not message.get("more_body") and not parts and size <= SMALL_BYTES:
            return part
        parts.append(part)
        room.take(len(part))
        if not message.get("more_body"):
            return b"".join(parts)
