"""One request between `fetch` and the application: whole answers, streams, and clients that hang up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from typing import Any

import pytest

from understudy.cloudflare.exchange import (
    GONE,
    READ_AT_ONCE_BYTES,
    FetchExchange,
    Headers,
    first_of,
    is_short,
    scope_of,
)

START = {"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]}


class Place:
    """Answers as tuples; a stream whose reader may be gone."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self.is_closed = self.is_unread = False
        self.kept: list[asyncio.Task[None]] = []

    def whole(self, status: int, headers: Headers, body: bytes) -> Any:
        return status, dict(headers), body

    def begun(self, status: int, headers: Headers) -> Any:
        return (status, "begun"), self

    async def write(self, part: bytes) -> None:
        if self.is_unread:
            raise RuntimeError("This WritableStream is errored")
        self.parts.append(part)

    async def close(self) -> None:
        self.is_closed = True


async def _body(*parts: bytes) -> AsyncGenerator[bytes, None]:
    for part in parts:
        yield part


def exchange(place: Place, *parts: bytes) -> FetchExchange:
    return FetchExchange(scope_of("POST", "https://x.test/a%20b?q=%E3%81%82", {"X-Api-Key": "k"}), _body(*parts), place)


def on_a_loop(test: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    def ordinary() -> None:
        asyncio.run(test())

    ordinary.__name__ = test.__name__
    return ordinary


Send = Callable[[dict[str, Any]], Awaitable[None]]
Receive = Callable[[], Awaitable[dict[str, Any]]]


@on_a_loop
async def test_a_request_is_read_to_its_end_and_answered_as_a_whole() -> None:
    async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        read = [await receive() for _ in range(3)]
        assert [message["body"] for message in read] == [b"one", b"two", b""]
        assert [message["more_body"] for message in read] == [True, True, False]
        await send(START)
        await send({"type": "http.response.body", "body": b"well"})

    place = Place()
    answer = await exchange(place, b"one", b"two").answered(app, place.kept.append)
    assert answer == (200, {"content-type": "text/plain"}, b"well")
    await place.kept[0]


@on_a_loop
async def test_an_answer_that_is_begun_goes_on_behind_it() -> None:
    go_on = asyncio.Event()

    async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        await send(START)
        await send({"type": "http.response.body", "body": b"first", "more_body": True})
        await go_on.wait()
        await send({"type": "http.response.body", "body": b"last"})

    place = Place()
    assert await exchange(place).answered(app, place.kept.append) == (200, "begun")
    go_on.set()
    await place.kept[0]
    assert place.parts == [b"first", b"last"]
    assert place.is_closed


@on_a_loop
async def test_a_client_that_hangs_up_ends_the_wait_and_is_answered_nothing() -> None:
    heard: list[str] = []

    async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        await receive()
        heard.append((await receive())["type"])

    place = Place()
    asked = exchange(place)
    asyncio.get_running_loop().call_soon(asked.hang_up, "an event of JavaScript")
    assert (await asked.answered(app, place.kept.append))[0] == GONE
    assert heard == ["http.disconnect"]


@on_a_loop
async def test_a_client_that_breaks_off_in_its_body_has_hung_up() -> None:
    """What JavaScript throws then was a fault of the hub: 500, and CRITICAL in the log."""

    async def half() -> AsyncGenerator[bytes, None]:
        yield b'{"half'
        raise RuntimeError("Error: Network connection lost.")

    async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        assert [(await receive())["type"] for _ in range(3)] == ["http.request", "http.disconnect", "http.disconnect"]

    place = Place()
    asked = FetchExchange(scope_of("POST", "https://x.test/a", {}), half(), place)
    assert (await asked.answered(app, place.kept.append))[0] == GONE


@on_a_loop
async def test_a_stream_that_nobody_reads_ends() -> None:
    async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        await receive()
        await send(START)
        await send({"type": "http.response.body", "body": b"first", "more_body": True})
        place.is_unread = True
        await send({"type": "http.response.body", "body": b"second", "more_body": True})
        assert (await receive())["type"] == "http.disconnect"

    place = Place()
    await exchange(place).answered(app, place.kept.append)
    await place.kept[0]
    assert place.parts == [b"first"]


@on_a_loop
async def test_what_the_application_breaks_on_is_raised() -> None:
    async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        raise KeyError("a bug")

    place = Place()
    with pytest.raises(KeyError):
        await exchange(place).answered(app, place.kept.append)


def test_the_scope_has_the_address_that_cloudflare_names() -> None:
    scope = scope_of("GET", "https://hub.example/a%20b/%E3%81%82?q=1&r=%20", {"CF-Connecting-IP": "203.0.113.7"})
    assert scope["client"] == ("", 0)  # names of headers are in lower case there
    scope = scope_of("GET", "https://hub.example/a%20b/%E3%81%82?q=1&r=%20", {"cf-connecting-ip": "203.0.113.7"})
    assert scope["client"] == ("203.0.113.7", 0)
    assert (scope["path"], scope["raw_path"]) == ("/a b/あ", b"/a%20b/%E3%81%82")
    assert scope["query_string"] == b"q=1&r=%20"
    assert scope["headers"] == [(b"cf-connecting-ip", b"203.0.113.7")]
    assert scope["server"] == ("hub.example", 443)


def test_what_is_no_ascii_reaches_the_application_unchanged() -> None:
    """Two keys in Japanese were both `?`: the task of the second one was taken for a repetition of the first."""
    scope = scope_of("GET", "https://hub.example/日?q=日本", {"idempotency-key": "日"})
    assert (scope["path"], scope["raw_path"]) == ("/日", b"/%E6%97%A5")
    assert scope["query_string"] == b"q=%E6%97%A5%E6%9C%AC"
    assert scope["headers"] == [(b"idempotency-key", "日".encode())]


@pytest.mark.parametrize(
    ("headers", "short"),
    [
        ({"content-length": "0"}, True),
        ({"content-length": str(READ_AT_ONCE_BYTES)}, True),
        ({"content-length": str(READ_AT_ONCE_BYTES + 1)}, False),
        ({"content-length": "0" * 5_000 + "9"}, False),
        ({"content-length": "9" * 5_000}, False),
        ({"content-length": "²"}, False),
        ({"content-length": "-1"}, False),
        ({"content-length": "900", "content-encoding": "gzip"}, False),
        ({}, False),
    ],
)
def test_only_a_body_that_is_surely_short_is_read_at_once(headers: dict[str, str], short: bool) -> None:
    assert is_short(headers) is short


@on_a_loop
async def test_of_a_body_without_end_no_more_is_read_than_is_kept() -> None:
    asked = 0

    async def endless() -> AsyncGenerator[bytes, None]:
        nonlocal asked
        while True:
            asked += 1
            yield b"abc"

    read, whole = bytearray(), bytearray()
    await first_of(endless(), 7, read)
    assert (read, asked) == (b"abcabca", 3)
    await first_of(_body(b"ab", b"", b"c"), 7, whole)
    assert whole == b"abc"
