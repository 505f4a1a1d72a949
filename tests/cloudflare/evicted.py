"""The object under plain Python, which may be evicted at any instant; its storage and its alarm outlive it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Coroutine
from io import StringIO
from typing import Any

from tests.store.durable_storage import Buffer, Storage
from understudy.clock import ManualClock
from understudy.cloudflare.exchange import FetchExchange, Headers, scope_of
from understudy.cloudflare.hub_object import HubObject
from understudy.store.durable import DurableStore
from understudy.wire.outbound import NoAnswer, OutboundAnswer, OutboundRequest

NEVER = 1 << 62
SETTLED = 40  # turns of the loop; nothing here needs more between two instants
KEY = "owner-7QmZ2vKx9LrB4nWc8HdYp3Ft"
ENVIRONMENT = {"UNDERSTUDY_API_KEY": KEY, "UNDERSTUDY_LATE_AFTER": "20s", "UNDERSTUDY_DOWN_AFTER": "40s"}


class Place:
    """Where objects live: their storage and alarm outlive them."""

    def __init__(self) -> None:
        self.storage = Storage()
        self.environ = ENVIRONMENT
        self.clock = ManualClock()
        self.bells: list[int] = []
        self.bell_at = 0
        self.sleepers: list[tuple[int, asyncio.Future[None]]] = []
        self.lines = StringIO()
        self.hub = self._made()

    def evict(self) -> None:
        """A new object on what is left; nothing more is done by the one before."""
        if self.hub._hub is not None:
            self.hub._hub.turns.is_over = True
        self.sleepers = []
        self.storage = Storage(self.storage.connection)
        self.hub = self._made()

    def _made(self) -> HubObject:
        return HubObject(self.environ, lambda: DurableStore(self.storage, Buffer), self, self.lines, self.clock)

    def set_bell(self, ms: int) -> None:
        self.bells.append(ms)
        self.bell_at = self.clock.now_ms() + ms

    async def sleep_through(self, ms: int) -> None:
        """Time in which the object is put to sleep at once after each event, and woken by its alarm alone."""
        end = self.clock.now_ms() + ms
        while self.bell_at <= end:
            self.clock.advance(max(self.bell_at - self.clock.now_ms(), 0))
            self.evict()
            await self.hub.ring()
            await asyncio.sleep(0)
        self.clock.advance(end - self.clock.now_ms())
        self.evict()

    async def away(self, ms: int) -> None:
        """Time in which the place itself is down: no alarm is rung."""
        self.clock.advance(ms)
        self.evict()
        await self.hub.ring()

    async def beat(self, seq: int) -> None:
        body = {"daemonId": "mini", "machineId": "m", "bootId": "b", "seq": seq, "intervalSec": 5}
        assert (await self.ask("POST", "/api/queue/heartbeat", body))[0] == 200

    async def names(self) -> list[str]:
        return [event["name"] for event in (await self.ask("GET", "/api/events?limit=1000"))[1]["events"]]

    async def send(self, request: OutboundRequest) -> OutboundAnswer:
        return NoAnswer("nobody is there", was_sent=False)

    async def sleep(self, ms: int) -> None:
        """Until the test has moved the clock so far."""
        sleeper = asyncio.get_running_loop().create_future()
        self.sleepers.append((self.clock.now_ms() + ms, sleeper))
        await sleeper

    # ---- time

    async def pass_until(self, at_ms: int) -> None:
        """Time in which the object stays in memory: what is due is done, and the alarm rings when it is due."""
        await self.settle()
        while (next_at := min([self.bell_at, *(until for until, _ in self.sleepers)])) <= at_ms:
            self.clock.advance(max(next_at - self.clock.now_ms(), 0))
            if self.bell_at <= self.clock.now_ms():
                self.bell_at = NEVER
                await self.hub.ring()
            await self.settle()
        self.clock.advance(at_ms - self.clock.now_ms())

    async def settle(self) -> None:
        """Whatever can go on at this instant has gone on."""
        now = self.clock.now_ms()
        for sleeper in [sleeper for until, sleeper in self.sleepers if until <= now and not sleeper.done()]:
            sleeper.set_result(None)
        for _ in range(SETTLED):
            await asyncio.sleep(0)
        self.sleepers = [(until, sleeper) for until, sleeper in self.sleepers if not sleeper.done()]

    def whole(self, status: int, headers: Headers, body: bytes) -> Any:
        return status, json.loads(body) if dict(headers)["content-type"] == "application/json" else body

    def begun(self, status: int, headers: Headers) -> Any:
        raise AssertionError("no stream was asked for")

    async def ask(self, method: str, path: str, body: Any = None) -> Any:
        async def content() -> AsyncIterator[bytes]:
            yield body if isinstance(body, bytes) else json.dumps(body).encode()

        kept: list[asyncio.Task[None]] = []
        scope = scope_of(method, f"https://hub.test{path}", {"x-api-key": KEY})
        answer = await FetchExchange(scope, content(), self).answered(await self.hub.app(), kept.append)
        await asyncio.wait(kept)
        return answer


def on_a_loop(test: Callable[[Place], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    def ordinary() -> None:
        async def run() -> None:
            await test(Place())

        asyncio.run(run())

    ordinary.__name__ = test.__name__
    return ordinary
