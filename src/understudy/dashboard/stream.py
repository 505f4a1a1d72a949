"""The stream of one open page: changes of what it shows, as Server-Sent Events."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import msgspec
from starlette.responses import Response

from understudy.dashboard.asked import Asked
from understudy.dashboard.live import Watcher
from understudy.dashboard.page import Page
from understudy.dashboard.safety import HEADERS
from understudy.dashboard.site import Site
from understudy.dashboard.static_files import static_version
from understudy.errors import UnderstudyError

ALIVE_EVERY_S = 5.0
MARKS_CHARS_MAX = 2_000
OVER = b"event: over\ndata: {}\n\n"
_HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
    *((name.lower().encode(), value.encode()) for name, value in HEADERS.items()),
]


class StreamApp:
    """The stream of one page; as many as look at it."""

    def __init__(self, site: Site, page: Page) -> None:
        self._site = site
        self._page = page

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Send what is new, until the browser goes, its session is over or the hub stops."""
        site, asked = self._site, Asked(scope, receive, self._site.public_url)
        if scope["method"] == "HEAD":
            await Response(headers=HEADERS, media_type="text/event-stream")(scope, receive, send)
            return
        try:
            if not await site.doorman.admit(asked) or not asked.caller.may(*self._page.scopes):
                await _once(send, OVER)
                return
            assert asked.session is not None
            wanted = site.fragments(self._page, site.given(self._page, asked))
            joined = site.live.joined(asked.session.id, wanted, _marks(asked))
            with site.api.hub.waiting.place(), joined as watcher, suppress(OSError):
                await self._follow(watcher, receive, send)
        except UnderstudyError as error:
            headers = HEADERS | {"Retry-After": str(error.fields.get("retryAfter", 5))}
            await Response(status_code=error.status, headers=headers)(scope, receive, send)

    async def _follow(self, watcher: Watcher, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
        clock_at = self._now()
        await _write(send, self._hello(clock_at))
        gone = asyncio.get_running_loop().create_task(_disconnected(receive, watcher))
        try:
            while not watcher.over:
                messages = await watcher.next(ALIVE_EVERY_S)
                if watcher.over:
                    break
                now = self._now()
                if not messages or abs(now - clock_at) >= ALIVE_EVERY_S * 1000:  # the browser's clock may have been set
                    clock_at = now
                    messages = [*messages, b"event: alive\ndata: %d\n\n" % now]
                await _write(send, b"".join(messages))
        finally:
            gone.cancel()
        if watcher.over != "gone":
            await send({"type": "http.response.body", "body": OVER if watcher.over == "session" else b""})

    def _hello(self, now: int) -> bytes:
        """The version of its files, for pages of an older one, and the hub's clock."""
        said = msgspec.json.encode({"version": static_version(), "now": now})
        return b"retry: 1000\nevent: hello\ndata: " + said + b"\n\n"

    def _now(self) -> int:
        return self._site.api.hub.clock.now_ms()


def _marks(asked: Asked) -> dict[str, str]:
    """The fragments that the browser has already: `name:mark,…`."""
    text = asked.request.query_params.get("have", "")[:MARKS_CHARS_MAX]
    return dict(part.split(":", 1) for part in text.split(",") if ":" in part)


async def _once(send: Any, message: bytes) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
    await send({"type": "http.response.body", "body": message})


async def _write(send: Any, chunk: bytes) -> None:
    await send({"type": "http.response.body", "body": chunk, "more_body": True})


async def _disconnected(receive: Any, watcher: Watcher) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    watcher.end("gone")
