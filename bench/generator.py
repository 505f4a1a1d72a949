"""The load generator for machines without `wrk`: keep-alive connections on one event loop, in its own process.

`generator.py PORT KIND CONNECTIONS SECONDS` prints one JSON object. The kinds are those of `bench/wrk/*.lua`.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections import deque
from collections.abc import Callable

import msgspec
import uvloop

KEY = os.environ.get("BENCH_KEY", "k")
DAEMONS = int(os.environ.get("BENCH_DAEMONS", "1000"))
FROM, SEQ = int(os.environ.get("BENCH_FROM", "0")), int(os.environ.get("BENCH_SEQ", "0"))


def post(path: str, body: bytes) -> bytes:
    """A request as bytes."""
    head = f"POST {path} HTTP/1.1\r\nHost: hub\r\nX-API-Key: {KEY}\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


class Kind:
    """What to send next, given what came back."""

    def __init__(self, name: str) -> None:
        self._n = FROM
        self._worker = 0
        self._ready: deque[bytes] = deque()
        makers: dict[str, Callable[[], bytes]] = {
            "bare": lambda: post("/api/queue/heartbeat", b'{"workerId":"daemon_bench1_1738591000000"}'),
            "beat_old": self._beat_old,
            "beat_new": self._beat_new,
            "enqueue": lambda: post("/api/queue", b'{"content":"' + b"x" * 200 + b'","source":"bench"}'),
            "cycle": lambda: self._claim(0),
            "batch": lambda: self._claim(50),
        }
        self._make = makers[name]
        self._reads = name in ("cycle", "batch")

    def next(self) -> bytes:
        """The next request."""
        return self._ready.popleft() if self._ready else self._make()

    def answered(self, body: bytes) -> None:
        """Leases that came back are reported next."""
        if not self._reads or b'"lease"' not in body:
            return
        answer = msgspec.json.decode(body)
        if "tasks" not in answer:
            result = {"success": True, "output": "done", "token": answer["lease"]["token"]}
            self._ready.append(post(f"/api/result/{answer['taskId']}", msgspec.json.encode(result)))
            return
        results = [
            {"taskId": item["task"]["id"], "token": item["lease"]["token"], "success": True, "output": "done"}
            for item in answer["tasks"]
        ]
        self._ready.append(post("/api/results", msgspec.json.encode({"results": results})))

    def _beat_old(self) -> bytes:
        self._n = (self._n + 1) % DAEMONS
        return post("/api/queue/heartbeat", b'{"workerId":"daemon_bench%d_1738591000000"}' % self._n)

    def _beat_new(self) -> bytes:
        self._n += 1
        who, seq = self._n % DAEMONS, SEQ + self._n // DAEMONS + 1
        said = {
            "daemonId": f"beat-{who}",
            "machineId": f"machine-{who}",
            "bootId": f"boot-{who}",
            "seq": seq,
            "intervalSec": 10,
            "version": "0.1.0",
            "running": [],
            "loops": {"claim": "2026-02-04T14:13:28.213Z", "heartbeat": "2026-02-04T14:13:28.213Z"},
            "auth": {"claude": "ok"},
            "capacity": 2,
            "provides": ["machine", "executor:command"],
            "state": "running",
            "sleptSec": 0,
        }
        return post("/api/queue/heartbeat", msgspec.json.encode(said))

    def _claim(self, count: int) -> bytes:
        self._worker = (self._worker + 1) % 64
        more = b',"max":%d,"waitSec":1' % count if count else b""
        return post("/api/queue/claim", b'{"workerId":"worker-%d","provides":["machine"]%s}' % (self._worker, more))


class Connection(asyncio.Protocol):
    """Sends, waits for the answer, sends again."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._buffer = b""
        self._sent_at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._send()

    def _send(self) -> None:
        self._sent_at = time.perf_counter()
        self._transport.write(self._run.kind.next())

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head_end = self._buffer.find(b"\r\n\r\n")
        if head_end < 0:
            return
        head = self._buffer[:head_end].lower()
        at = head.find(b"content-length: ")
        length = int(head[at + 16 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
        if len(self._buffer) < head_end + 4 + length:
            return
        body, self._buffer = self._buffer[head_end + 4 :], b""
        self._run.answered(self._sent_at, int(head[9:12]), body)
        if self._run.is_over:
            self._transport.close()
        else:
            self._send()


class Run:
    """All connections of a run."""

    def __init__(self, kind: str) -> None:
        self.kind = Kind(kind)
        self.taken: list[float] = []
        self.refused = 0
        self.first = ""
        self.is_over = False

    def answered(self, sent_at: float, status: int, body: bytes) -> None:
        """Count one answer."""
        self.taken.append(time.perf_counter() - sent_at)
        if status >= 300:
            self.refused += 1
            self.first = self.first or f"{status} {body[:200]!r}"
        self.kind.answered(body)

    async def drive(self, port: int, connections: int, seconds: float) -> float:
        """Keep the connections busy; how long it was."""
        loop = asyncio.get_running_loop()
        started = time.perf_counter()
        for _ in range(connections):
            await loop.create_connection(lambda: Connection(self), "127.0.0.1", port)
        await asyncio.sleep(seconds)
        self.is_over = True
        return time.perf_counter() - started


def main() -> None:
    """Run and print."""
    port, kind, connections, seconds = int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
    run = Run(kind)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        passed = runner.run(run.drive(port, connections, seconds))
    taken = sorted(run.taken) or [0.0]
    said = {
        "rate_per_s": len(run.taken) / passed,
        "requests": len(run.taken),
        "p50_ms": taken[len(taken) // 2] * 1000,
        "p99_ms": taken[int(len(taken) * 0.99)] * 1000,
        "refused": run.refused,
        "first": run.first,
    }
    print(msgspec.json.encode(said).decode())


if __name__ == "__main__":
    main()
