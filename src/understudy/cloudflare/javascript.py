"""Cloudflare's own objects: requests and answers of `fetch`, the alarm, the console. Nothing is decided in here."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Mapping
from typing import Any

import js
from pyodide.ffi import create_proxy, to_js

from understudy import __version__
from understudy.cloudflare.critical import critical
from understudy.cloudflare.exchange import FetchExchange, Headers, first_of, is_short, scope_of
from understudy.cloudflare.fetching import ANSWER_BYTES_MAX, NOT_SENT, AnswerSoFar, UnsendableError, answer_of
from understudy.cloudflare.hub_object import HubObject, refusal_of
from understudy.config.worker_vars import texts_of
from understudy.store.durable import DurableStore
from understudy.wire.outbound import HttpRequest, OutboundAnswer, OutboundRequest

WITHOUT_BODY = frozenset({101, 204, 205, 304})


class Console:
    """Lines for `wrangler tail`."""

    def write(self, text: str) -> None:
        """One line a call."""
        js.console.log(text.rstrip("\n"))

    def flush(self) -> None:
        """Nothing is held back."""


class CloudflareHost:
    """The object: its storage and alarm, its environment, its way out."""

    def __init__(self, ctx: Any, env: Any) -> None:
        self._storage = ctx.storage
        self._tasks: set[asyncio.Task[None]] = set()
        environ = texts_of({name: getattr(env, name) for name in js.Object.keys(env)})
        self._hub = HubObject(environ, lambda: DurableStore(self._storage, to_js), self, Console())

    # ---- events

    async def answer(self, request: Any) -> Any:
        """The answer to a request."""
        try:
            app = await self._hub.app()
        except Exception as error:  # noqa: BLE001 - a defect of the hub, or whatever JavaScript throws, is said alike
            status, body = refusal_of(error)
            _cannot_start(error)
            return Answers().whole(status, [("content-type", "application/json")], json.dumps(body).encode())
        headers = js.Object.fromEntries(request.headers).to_py()
        exchange = FetchExchange(scope_of(request.method, request.url, headers), _body_of(request, headers), Answers())
        return await exchange.answered(app, self._watched(exchange, request.signal))

    async def ring(self) -> None:
        """The alarm has gone off; the entry says what it raises."""
        await self._hub.ring()

    def _watched(self, exchange: FetchExchange, signal: Any) -> Callable[[asyncio.Task[None]], None]:
        """Keeps the task of a request, and tells it when its client has hung up."""
        hung_up = create_proxy(exchange.hang_up)
        signal.addEventListener("abort", hung_up)

        def forget(task: asyncio.Task[None]) -> None:
            self._tasks.discard(task)
            signal.removeEventListener("abort", hung_up)
            hung_up.destroy()

        def keep(task: asyncio.Task[None]) -> None:
            self._tasks.add(task)
            task.add_done_callback(forget)

        return keep

    # ---- what a hub needs of its host

    def set_bell(self, ms: int) -> None:
        """The alarm of the object, in so many ms; it goes off also if the object is evicted meanwhile."""
        self._storage.setAlarm(float(js.Date.now() + ms))

    async def send(self, request: OutboundRequest) -> OutboundAnswer:
        """One exchange by `fetch`."""
        if not isinstance(request, HttpRequest):
            return NOT_SENT
        return await answer_of(request, _fetch, f"understudy/{__version__}")

    async def sleep(self, ms: int) -> None:
        """Let time pass."""
        await asyncio.sleep(ms / 1000)


def _cannot_start(error: Exception) -> None:
    js.console.error(critical(error))


async def _fetch(method: str, url: str, headers: Mapping[str, str], body: bytes, heard: AnswerSoFar) -> None:
    controller = js.AbortController.new()
    request = _request(method, url, headers, body, controller.signal)
    try:
        answer = await js.fetch(request)
        heard.status, heard.headers = answer.status, js.Object.fromEntries(answer.headers).to_py()
        await first_of(_body_of(answer, heard.headers), ANSWER_BYTES_MAX, heard.body)
    except asyncio.CancelledError:
        controller.abort()
        raise
    if len(heard.body) == ANSWER_BYTES_MAX:  # the memory of a Worker has no room for what nobody reads
        controller.abort()


def _request(method: str, url: str, headers: Mapping[str, str], body: bytes, signal: Any) -> Any:
    """The request, whole before any of it is sent. UnsendableError."""
    options = {"method": method, "redirect": "manual", "signal": signal}
    try:
        content = {"body": to_js(body)} if body else {}
        return js.Request.new(url, **options, **content, headers=_headers(list(headers.items())))
    except Exception as error:
        raise UnsendableError from error


async def _body_of(message: Any, headers: Mapping[str, str]) -> AsyncGenerator[bytes, None]:
    """The body of a request or an answer, as it comes."""
    if not message.body:
        return
    if is_short(headers):
        yield (await message.arrayBuffer()).to_bytes()
        return
    reader = message.body.getReader()
    while not (part := await reader.read()).done:
        yield part.value.to_bytes()


class Answers:
    """Answers of `fetch`."""

    def whole(self, status: int, headers: Headers, body: bytes) -> Any:
        """One that is there at once."""
        content = None if status in WITHOUT_BODY else to_js(body)
        return js.Response.new(content, **_options(status, headers))

    def begun(self, status: int, headers: Headers) -> tuple[Any, Body]:
        """One whose body comes bit by bit."""
        stream = js.TransformStream.new()
        body = Body(stream.writable.getWriter())
        return js.Response.new(stream.readable, **_options(status, headers)), body


class Body:
    """A body that is written bit by bit."""

    def __init__(self, writer: Any) -> None:
        self._writer = writer

    async def write(self, part: bytes) -> None:
        """Wait for room."""
        await self._writer.write(to_js(part))

    async def close(self) -> None:
        """That was all."""
        await self._writer.close()


def _options(status: int, headers: Headers) -> dict[str, Any]:
    """Of an answer; one that says that it is packed is so already, and the place need not do it again."""
    is_packed = any(name == "content-encoding" for name, _ in headers)
    return {"status": status, "headers": _headers(headers), "encodeBody": "manual" if is_packed else "automatic"}


def _headers(pairs: Headers) -> Any:
    """Pairs, because a name may come twice; the length is the place's own business."""
    return js.Headers.new(to_js([[name, value] for name, value in pairs if name != "content-length"]))
