"""What a hub's requests read in a PostgreSQL with 1,000,000 tasks and 100,000 daemons: `bench/large_store.py`.

Rows and pages of 8 KiB are counted by the server, so the figures are the same on a busy machine; `--tasks` and
`--daemons` make it smaller. The first column is a store of 1,000 of each. What the hub reads by itself meanwhile is
measured alone first, and taken off. Then the time from the start of a hub's process until it serves.
"""

from __future__ import annotations

import argparse
import http.client
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bench.crowd import MODELS, gather  # noqa: E402
from bench.processes import KEY, Hub, free_port  # noqa: E402
from tests.postgres import Server, running_server  # noqa: E402

STARTS, IDLE_S, SETTLES_S, TRIES = 5, 5, 0.3, 2
QUIET = {
    "late_after": "10h",
    "down_after": "20h",
    "key_tasks_max": 10_000_000,
    "key_mb_max": 1_000_000,
    "store_mb_max": 1_000_000,
}
NOISE_PAGES = 500  # of a request, from connections that were made anew for the count
MORE_MAX = 1.5  # times what a small store costs
READ = "SELECT tup_returned, blks_hit + blks_read FROM pg_stat_database WHERE datname = %s"


class Cost(NamedTuple):
    """Of one request."""

    rows: float
    pages: float
    ms: float


class Place:
    """A hub on a database of its own."""

    def __init__(self, server: Server, folder: Path, tasks: int, daemons: int) -> None:
        url = server.new_database()
        began = time.perf_counter()
        gather(url, tasks, daemons)
        print(f"{tasks:,} tasks and {daemons:,} daemons were made in {time.perf_counter() - began:.0f} s", flush=True)
        self._server = server
        self._database = url.rpartition("/")[2]
        self.hub = Hub(folder / f"hub-{tasks}", settings={"store": url, **QUIET})
        self._cookie = ""
        self._claimed: list[Any] = []
        self._nth = 0

    # ---- requests

    def send(self, method: str, path: str, body: Any = None) -> Any:
        for _ in range(TRIES):  # a busy machine makes a list too slow for the hub's patience
            status, said = self.hub.call(method, path, body, timeout_s=120)
            if status != 503:
                break
        assert status in (200, 201) or said["code"] == "too_slow", (path, status, said)
        return said

    def look(self, path: str) -> None:
        """A page, as somebody who is logged in sees it."""
        self._cookie = self._cookie or self._log_in()
        for _ in range(20 * TRIES):
            status, _ = self._asked("GET", path, "")
            if status != 503:
                break
        assert status == 200, (path, status)

    def _log_in(self) -> str:
        status, cookie = self._asked("POST", "/login", f"key={KEY}")
        assert status == 303, status
        return cookie

    def _asked(self, method: str, path: str, form: str) -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", self.hub.port, timeout=120)
        headers = {"Cookie": self._cookie, "Sec-Fetch-Site": "same-origin"}
        connection.request(method, path, form, headers | {"Content-Type": "application/x-www-form-urlencoded"})
        answer = connection.getresponse()
        answer.read()
        connection.close()
        return answer.status, (answer.getheader("Set-Cookie") or "").partition(";")[0]

    def beat(self) -> None:
        self._nth += 1
        who = self._nth % MODELS
        names = {"daemonId": f"beat-{who}", "machineId": f"machine-{who}", "bootId": f"boot-{who}"}
        more = {"seq": 10 + self._nth, "intervalSec": 10, "running": [], "capacity": 2, "state": "running"}
        self.send("POST", "/api/queue/heartbeat", names | more)

    def enqueue(self) -> None:
        self._nth += 1
        self.send("POST", "/api/queue", {"id": f"large-{self._nth}", "content": "x" * 200})

    def claim(self) -> None:
        asked = {"workerId": "w", "max": 1, "provides": ["machine"]}
        self._claimed += self.send("POST", "/api/queue/claim", asked)["tasks"]

    def report(self) -> None:
        one = self._claimed.pop()
        report = {"success": True, "output": "y", "token": one["lease"]["token"]}
        self.send("POST", f"/api/result/{one['task']['id']}", report)

    def requests(self) -> Iterator[tuple[str, Callable[[], Any]]]:
        """Each kind, in an order in which each can succeed."""
        yield "heartbeat", self.beat
        yield "enqueue", self.enqueue
        yield "claim", self.claim
        yield "result", self.report
        for path in ("/api/tasks", "/api/tasks?status=done", "/api/tasks?q=large-7", "/api/queue", "/api/daemons"):
            yield f"GET {path}", partial(self.send, "GET", path)
        for path in ("/api/events", "/api/incidents", "/metrics"):
            yield f"GET {path}", partial(self.send, "GET", path)
        for path in ("/", "/tasks", "/log", "/incidents", "/notices", "/numbers"):
            yield f"the page {path}", partial(self.look, path)

    # ---- counts

    def read(self) -> tuple[int, int]:
        """Rows and pages so far; a connection says what it has read when it ends, so all are ended."""
        self._server.cut(self._database)
        time.sleep(SETTLES_S)
        ((rows, pages),) = self._server.ask(READ, self._database)
        while self.hub.call("GET", "/ready")[0] != 200:
            time.sleep(0.05)
        self.send("GET", "/api/queue")  # connections are there again
        return int(rows), int(pages)

    def measured(self, request: Callable[[], Any], times: int) -> tuple[float, float, float]:
        """Rows and pages that were read meanwhile, and the seconds that it took."""
        request()
        rows, pages = self.read()
        began = time.perf_counter()
        for _ in range(times):
            request()
        took_s = time.perf_counter() - began
        then = self.read()
        return then[0] - rows, then[1] - pages, took_s

    def costs(self, requests: int) -> Iterator[tuple[str, Cost]]:
        """What the hub reads by itself in a second, and what each request reads."""
        alone = self.measured(lambda: None, 1)
        idle = self.measured(partial(time.sleep, 1), IDLE_S)
        own = [(many - none) / idle[2] for many, none in zip(idle[:2], alone[:2], strict=True)]
        yield "by itself, each second (the alarm looks)", Cost(*own, 0)
        for name, request in self.requests():
            rows, pages, took_s = self.measured(request, requests)
            each = [
                (read - none - a_second * took_s) / requests
                for read, none, a_second in zip((rows, pages), alone[:2], own, strict=True)
            ]
            yield name, Cost(max(each[0], 0), max(each[1], 0), 1000 * took_s / requests)

    def starts_s(self) -> list[float]:
        """From the start of the process until it serves."""
        taken = []
        for _ in range(STARTS):
            self.hub.kill()
            began = time.perf_counter()
            self.hub.launch()
            self.hub.wait_ready()
            taken.append(time.perf_counter() - began)
        return taken


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="bench/large_store.py", description=__doc__)
    parser.add_argument("--tasks", type=int, default=1_000_000)
    parser.add_argument("--daemons", type=int, default=100_000)
    parser.add_argument("--requests", type=int, default=30, help="of each kind")
    asked = parser.parse_args()
    sizes = {"few": (MODELS, MODELS), "many": (asked.tasks, asked.daemons)}
    costs: dict[str, dict[str, Cost]] = {}
    starts: dict[str, list[float]] = {}
    with (
        running_server(is_durable=True, port=free_port(), shared_buffers="512MB", max_wal_size="8GB") as server,
        tempfile.TemporaryDirectory() as folder,
    ):
        for name, (tasks, daemons) in sizes.items():
            place = Place(server, Path(folder), tasks, daemons)
            with place.hub:
                costs[name] = {}
                for what, cost in place.costs(asked.requests):
                    costs[name][what] = cost
                    print(f"{name}: {what}: {cost.rows:,.1f} rows, {cost.pages:,.1f} pages", flush=True)
                starts[name] = place.starts_s()
    print("| | rows | with many | pages | with many | | ms | with many |\n|---|---|---|---|---|---|---|---|")
    for what, few in costs["few"].items():
        many = costs["many"][what]
        times = (many.pages + NOISE_PAGES) / (few.pages + NOISE_PAGES)
        said = f"{times:.2f} ×" + ("" if times <= MORE_MAX else " **more**")
        numbers = f"{few.rows:,.1f} | {many.rows:,.1f} | {few.pages:,.1f} | {many.pages:,.1f} | {said}"
        print(f"| {what} | {numbers} | {few.ms:,.1f} | {many.ms:,.1f} |")
    for name, taken in starts.items():
        print(f"start to serving with {name}: median {median(taken):.2f} s of {STARTS}")


if __name__ == "__main__":
    main()
