"""A day of one hub on the real storage of an object, under a clock that is moved.

The heartbeats, polls and results of a daemon, and the alarm, are events of that clock; every row is counted by the
storage itself.
"""

from __future__ import annotations

import asyncio
import heapq
import json
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

from pyodide.ffi import to_js

from understudy.clock import ManualClock
from understudy.cloudflare.exchange import FetchExchange, Headers, scope_of
from understudy.cloudflare.hub_object import HubObject
from understudy.store.durable import DurableStore
from understudy.wire.outbound import NoAnswer, OutboundAnswer, OutboundRequest

KEY = "owner-7QmZ2vKx9LrB4nWc8HdYp3Ft"
DAY_S, TASKS, RUN_S = 86_400, 50, 60
FIRST_TASK_S = 300  # so that no task runs over the end of an hour
BEAT_S, POLL_S = 10, 15  # UNDERSTUDY_HEARTBEAT_INTERVAL and UNDERSTUDY_POLL_WAIT
DAEMON = {"daemonId": "mini", "bootId": "boot"}
ALWAYS = {"machineId": "machine", "intervalSec": BEAT_S, "version": "1", "loops": {}, "capacity": 1}
ALWAYS |= {"provides": ["machine"], "state": "running"}
BEAT, POLL, TASK, RESULT, BELL = "heartbeat", "poll", "task", "result", "alarm"


class Sql:
    """`ctx.storage.sql`, whose cursors are kept until their rows are counted."""

    def __init__(self, sql: Any) -> None:
        self._sql = sql
        self._cursors: list[Any] = []

    @property
    def databaseSize(self) -> int:  # noqa: N802 - JavaScript's name
        return int(self._sql.databaseSize)

    def exec(self, query: str, *values: Any) -> Any:
        cursor = self._sql.exec(query, *values)
        self._cursors.append(cursor)
        return cursor

    def rows_written(self) -> int:
        """Of all statements since the last time."""
        cursors, self._cursors = self._cursors, []
        return sum(int(cursor.rowsWritten) for cursor in cursors)


class Storage:
    """`ctx.storage`, counted."""

    def __init__(self, storage: Any) -> None:
        self._storage = storage
        self.sql = Sql(storage.sql)

    def transactionSync(self, fn: Any) -> None:  # noqa: N802 - JavaScript's name
        self._storage.transactionSync(fn)


class Day:
    """A part of a day, from this second on, as a heap of instants in ms; it is the host of its hub too.

    What comes after it is counted by another one, on the same storage: an object may be put away between two requests.
    """

    def __init__(self, storage: Any, from_s: int) -> None:
        self.storage = Storage(storage)
        self.clock = ManualClock()
        self.clock.advance(from_s * 1000)
        self.requests: Counter[str] = Counter()
        self.rows: Counter[str] = Counter()
        self.bells = 0
        self._now_ms = from_s * 1000
        self._bell_ms = self._number = 0
        self._seq = self._asked = from_s  # they only grow
        self._events: list[tuple[int, int, str, str]] = []
        self._running: dict[str, int] = {}  # token by task
        environ = {"UNDERSTUDY_API_KEY": KEY}
        self.hub = HubObject(environ, lambda: DurableStore(self.storage, to_js), self, self, self.clock)
        self._plan(self._now_ms, BEAT)
        self._plan(self._now_ms + 1_000, POLL)
        for n in range(TASKS):
            at_ms = (n * DAY_S // TASKS + FIRST_TASK_S) * 1000
            if at_ms >= self._now_ms:
                self._plan(at_ms, TASK, f"task-{n}")

    async def pass_(self, seconds: int) -> None:
        """Let so much of the day pass."""
        end_ms = self._now_ms + seconds * 1000
        while self._events and self._events[0][0] < end_ms:
            at_ms, _, kind, about = heapq.heappop(self._events)
            if kind == BELL and at_ms != self._bell_ms:
                continue  # it was set to an earlier instant
            self._move_to(at_ms)
            await getattr(self, f"_{kind}")(about)
            for _ in range(8):  # the hub's own steps
                await asyncio.sleep(0)
            self.rows[kind] += self.storage.sql.rows_written()
        self._move_to(end_ms)

    def _plan(self, at_ms: int, kind: str, about: str = "") -> None:
        self._number += 1
        heapq.heappush(self._events, (at_ms, self._number, kind, about))

    def _move_to(self, at_ms: int) -> None:
        if at_ms > self._now_ms:
            self.clock.advance(at_ms - self._now_ms)
            self._now_ms = at_ms

    # ---- the daemon, and somebody who submits tasks

    async def _heartbeat(self, about: str) -> None:
        self._seq += 1
        running = [{"taskId": name, "token": token} for name, token in self._running.items()]
        body = {
            **DAEMON,
            **ALWAYS,
            "seq": self._seq,
            "running": running,
        }
        await self._ask(BEAT, "/api/queue/heartbeat", body)
        if not about:
            self._plan(self._now_ms + BEAT_S * 1000, BEAT)

    async def _poll(self, about: str) -> None:
        """One long poll: it is counted when it ends, after POLL_S, or with a task."""
        self._asked += 1
        body = {**DAEMON, "workerId": "mini", "requestId": f"r{self._asked}", "max": 1, "provides": ["machine"]}
        answer = await self._ask(POLL, "/api/queue/claim", {**body, "onLoss": "wait"})
        if not answer["success"]:
            self._plan(self._now_ms + POLL_S * 1000, POLL)
            return
        name = answer["taskId"]
        self._running[name] = answer["lease"]["token"]
        self._plan(self._now_ms, BEAT, name)  # names the token at once
        self._plan(self._now_ms + RUN_S * 1000, RESULT, name)

    async def _task(self, about: str) -> None:
        await self._ask(TASK, "/api/queue", {"id": about, "content": "What does this say? " * 20})
        self._events = [event for event in self._events if event[2] != POLL]  # the open poll is answered
        heapq.heapify(self._events)
        if not self._running:
            self._plan(self._now_ms, POLL)

    async def _result(self, about: str) -> None:
        result = {"taskId": about, "token": self._running.pop(about), "success": True, "output": "It says so. " * 50}
        await self._ask(RESULT, "/api/results", {"results": [result]})
        self._plan(self._now_ms, POLL)

    async def _alarm(self, about: str) -> None:
        self.requests[BELL] += 1
        self._bell_ms = 0
        await self.hub.ring()

    # ---- one request

    async def _ask(self, kind: str, path: str, body: Any) -> Any:
        async def content() -> AsyncIterator[bytes]:
            yield json.dumps(body).encode()

        self.requests[kind] += 1
        kept: list[Any] = []
        scope = scope_of("POST", f"https://hub.test{path}", {"x-api-key": KEY})
        status, answer = await FetchExchange(scope, content(), self).answered(await self.hub.app(), kept.append)
        assert status < 300, (kind, status, answer)
        return answer

    def whole(self, status: int, headers: Headers, body: bytes) -> Any:
        return status, json.loads(body)

    def begun(self, status: int, headers: Headers) -> Any:
        raise AssertionError("no stream was asked for")

    # ---- what a hub needs of its host

    def set_bell(self, ms: int) -> None:
        self.bells += 1
        self._bell_ms = self._now_ms + max(ms, 1)
        self._plan(self._bell_ms, BELL)

    async def send(self, request: OutboundRequest) -> OutboundAnswer:
        return NoAnswer("nobody is there", was_sent=False)

    async def sleep(self, ms: int) -> None:
        self._move_to(self._now_ms + ms)
        await asyncio.sleep(0)

    def write(self, text: str) -> None:
        """The hub's log."""

    def flush(self) -> None:
        """Nothing is held back."""
