"""The event log as a list, or live as Server-Sent Events, resumable by Last-Event-ID."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from random import randint
from typing import Any

import msgspec
from msgspec.structs import replace

from understudy.api.endpoint import Request
from understudy.api.event_feed import Follower
from understudy.api.hub import Hub
from understudy.api.records import event_filter, is_search
from understudy.api.respond import encoded, respond
from understudy.errors import UnderstudyError
from understudy.hub.views import View
from understudy.redact import Redactor
from understudy.store.base import EventFilter, StoredEvent
from understudy.wire.answers.events import event_json

KEEP_ALIVE_S = 15
Read = Callable[[Callable[[View], Any]], Awaitable[Any]]
IsWelcome = Callable[[], bool]  # whether the caller's key is still valid
PAGE = 500
RETRY_MS = 1000
COME_AGAIN_MS = (500, 2_000)  # after the end of a hub: not all at once, and to whichever hub serves then
_HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
]


async def stream_events(hub: Hub, request: Request, is_welcome: IsWelcome, scope: Any, receive: Any, send: Any) -> None:
    """`GET /api/events`: a page, or everything from here on until the client goes."""
    wanted = event_filter(request)
    view: Read = partial(hub.view, key_id=request.caller.key_id)
    read: Read = partial(hub.search, request.caller.key_id) if is_search(wanted) else view
    if request.query.get("follow", "") not in ("1", "true"):
        live = hub.feed.live_matching(wanted)
        await respond(send, 200, await read(lambda shown: encoded(shown.events(wanted, live))))
        return
    with hub.waiting.place(), hub.feed.joined(request.caller.key_id) as follower, suppress(OSError):
        await _follow(
            hub, read if wanted.text else view, wanted, _last_event_id(scope), follower, is_welcome, receive, send
        )


def _last_event_id(scope: Any) -> int | None:
    for name, value in scope["headers"]:
        if name == b"last-event-id" and value.isdigit() and len(value) < 16:  # noqa: PLR2004
            return int(value)
    return None


async def _follow(
    hub: Hub,
    read: Read,
    wanted: EventFilter,
    after: int | None,
    follower: Follower,
    is_welcome: IsWelcome,
    receive: Any,
    send: Any,
) -> None:
    page = await _page(hub, read, wanted, after)  # before the head goes out: a store that fails is a 503
    if after and not page and after > await _newest(hub):  # from before the store was restored: start anew
        after = None
        page = await _page(hub, read, wanted, after)
    await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
    await _write(send, f"retry: {RETRY_MS}\n\n".encode())
    gone = asyncio.get_running_loop().create_task(_disconnected(receive, follower))

    def goes_on() -> bool:
        return is_welcome() and not gone.done() and not hub.feed.is_over

    try:
        last = await _catch_up(hub, read, wanted, after, page, send, goes_on)
        while is_welcome() and (news := await follower.next(KEEP_ALIVE_S)) is not None and is_welcome():
            chunk = b"".join(
                item.encoded(partial(sse, redactor=hub.log.redactor))
                for item in news
                if _is_new(item.stored, last, wanted) and item.is_wanted(wanted)
            )
            if chunk or not news:
                await _write(send, chunk or b": still here\n\n")
    except UnderstudyError:  # the head is out: the client goes on from the last event that it has
        pass
    finally:
        gone.cancel()
        if not gone.done():
            await send({"type": "http.response.body", "body": come_again() if hub.feed.is_over else b""})


def come_again() -> bytes:
    """The last words of a stream whose hub is stopping: an EventSource waits so long, then it connects anew."""
    return b": this hub is stopping, come again\nretry: %d\n\n" % randint(*COME_AGAIN_MS)


async def _catch_up(
    hub: Hub,
    read: Read,
    wanted: EventFilter,
    after: int | None,
    page: list[StoredEvent],
    send: Any,
    goes_on: Callable[[], bool],
) -> int:
    """Write what was missed since `after`, or the last page, while it goes on; where it came to is returned."""
    last = after or 0
    while page:
        for stored in page:
            if not goes_on():
                return last
            await _write(send, sse(stored, hub.log.redactor))
        last = page[-1].id
        page = await _page(hub, read, wanted, last) if after is not None and len(page) == PAGE else []
    return last


async def _page(hub: Hub, read: Read, wanted: EventFilter, after: int | None) -> list[StoredEvent]:
    """The first events after `after`; the last ones for somebody who has none yet."""
    if after is not None:
        wanted = replace(wanted, after_id=after, before_id=0, since_at=0, limit=PAGE)
    wanted = hub.feed.settled(wanted)
    page: list[StoredEvent] = await read(lambda view: view.reader.list_events(wanted))
    return page


async def _newest(hub: Hub) -> int:
    rows: list[StoredEvent] = await hub.view(lambda view: view.reader.list_events(EventFilter(limit=1)))
    return rows[-1].id if rows else 0


def _is_new(stored: StoredEvent, last: int, wanted: EventFilter) -> bool:
    """True if it was not written yet. Live-only lines are for those who search, or ask for level debug."""
    if stored.event.live_only:
        return bool(wanted.text) or "debug" in wanted.levels
    return stored.id > last


def sse(stored: StoredEvent, redactor: Redactor) -> bytes:
    """One event as a Server-Sent Event; what is live only has no id, so it is not resumed from."""
    data = msgspec.json.encode(event_json(stored.id, stored.event, redactor))
    head = b"" if stored.event.live_only else b"id: %d\n" % stored.id
    return head + b"event: " + stored.event.name.encode() + b"\ndata: " + data + b"\n\n"


async def _write(send: Any, chunk: bytes) -> None:
    await send({"type": "http.response.body", "body": chunk, "more_body": True})


async def _disconnected(receive: Any, follower: Follower) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    follower.end()
