"""100 open pages of a hub with 500 daemons and 10,000 tasks: their first content, and what they add to a heartbeat."""

from __future__ import annotations

import http.client
import selectors
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count

from bench.figures import Figure, Plan, percentile
from bench.load import Load, load
from bench.processes import KEY, Hub
from bench.stock import stock

DAEMONS, TASKS, PAGES = 500, 10_000, 100
PATHS = ("/", "/", "/", "/", "/tasks", "/tasks", "/tasks", "/incidents", "/log", "/notices")  # a tenth of them each
FIRST_CONTENT_MS = 300.0
ADDED_PART = 10.0  # % of a heartbeat's CPU
SETTLES_S = 2.0
CONNECTIONS = 64
CHUNK = 1 << 16
IDLE_S = 6.0  # some fragments are rendered again every 5 s


class Viewers:
    """Somebody who is logged in, with so many pages open at once; a thread reads what is pushed to them."""

    def __init__(self, hub: Hub, pages: int) -> None:
        self._hub = hub
        self.received = 0  # bytes
        self._cookie = self._log_in()
        self._lines = [self._open(f"/live{PATHS[n % len(PATHS)]}".rstrip("/")) for n in range(pages)]
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._read, name="viewers", daemon=True)
        self._thread.start()

    def _log_in(self) -> str:
        connection = self._connection()
        headers = {"Sec-Fetch-Site": "same-origin", "Content-Type": "application/x-www-form-urlencoded"}
        connection.request("POST", "/login", f"key={KEY}", headers)
        answer = connection.getresponse()
        answer.read()
        connection.close()
        assert answer.status == 303, answer.status
        return (answer.getheader("Set-Cookie") or "").partition(";")[0]

    def _connection(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self._hub.port, timeout=60)

    def _open(self, path: str) -> http.client.HTTPConnection:
        connection = self._connection()
        connection.request("GET", path, headers={"Cookie": self._cookie})
        return connection

    def _read(self) -> None:
        with selectors.DefaultSelector() as ready:
            for line in self._lines:
                line.sock.settimeout(0)
                ready.register(line.sock, selectors.EVENT_READ)
            while not self._over.is_set():
                for key, _ in ready.select(0.1):
                    self.received += len(key.fileobj.recv(CHUNK))  # type: ignore[union-attr]

    def first_content_ms(self, path: str) -> float:
        """The time until the whole page is there, as the browser of somebody else asks for it."""
        connection = self._connection()
        began = time.perf_counter()
        connection.request("GET", path, headers={"Cookie": self._cookie})
        answer = connection.getresponse()
        page = answer.read()
        took_ms = (time.perf_counter() - began) * 1000
        connection.close()
        assert answer.status == 200, (path, answer.status)
        assert b"data-live" in page
        return took_ms

    def close(self) -> None:
        """Go away."""
        self._over.set()
        self._thread.join()
        for line in self._lines:
            line.close()


@contextmanager
def viewing(hub: Hub, pages: int) -> Iterator[Viewers]:
    """Pages that are open; all have their first fragments."""
    viewers = Viewers(hub, pages)
    try:
        time.sleep(SETTLES_S)
        assert viewers.received
        yield viewers
    finally:
        viewers.close()


def crowded_hub(plan: Plan) -> Hub:
    """A hub with tasks that wait, not started."""
    stock(TASKS, plan.folder / "pages" / "hub.db")
    return Hub(plan.folder / "pages")


class Beats:
    """Heartbeats of all daemons, as fast as they are answered."""

    def __init__(self, hub: Hub, seconds: float) -> None:
        self._hub, self._seconds, self._runs = hub, seconds, count(1)

    def run(self) -> Load:
        """Each run goes on where the one before stopped."""
        env = {"BENCH_DAEMONS": str(DAEMONS), "BENCH_SEQ": str(1_000 * next(self._runs))}
        return load(self._hub, "beat_new", CONNECTIONS, self._seconds, env)


def idle_part(hub: Hub) -> float:
    """The part of a core that a hub takes while nothing happens, in percent."""
    before = hub.cpu_s()
    time.sleep(IDLE_S)
    return 100 * (hub.cpu_s() - before) / IDLE_S


def measure(plan: Plan) -> Iterator[Figure]:
    """Heartbeats with and without pages in pairs; pages while there are heartbeats; a hub that is only looked at."""
    contents: list[float] = []
    added: list[float] = []
    with crowded_hub(plan) as hub:
        beats = Beats(hub, plan.seconds)
        beats.run()
        alone_part = idle_part(hub)
        for _ in range(plan.rounds):
            alone = beats.run()
            with viewing(hub, PAGES) as viewers:
                added.append(100 * (beats.run().cpu_us / alone.cpu_us - 1))
                contents += _contents(viewers, beats)
        with viewing(hub, PAGES):
            looked_at_part = idle_part(hub)
    first = Figure("pages", f"a page while {PAGES} are open and {CONNECTIONS} connections beat", "ms", contents)
    first.target, first.holds = f"p99 ≤ {FIRST_CONTENT_MS:g} ms", percentile(contents, 99) <= FIRST_CONTENT_MS
    yield first
    more = Figure("pages", f"{PAGES} open pages: what they add to a heartbeat's CPU", "%", added)
    more.target, more.holds = f"≤ {ADDED_PART:g} %", more.median <= ADDED_PART
    yield more
    quiet = Figure("pages", f"{PAGES} open pages while nothing happens: of a core", "%", [looked_at_part])
    quiet.note = f"without them {alone_part:.2f} %"
    yield quiet


def _contents(viewers: Viewers, beats: Beats) -> list[float]:
    """Pages that are asked for while daemons beat."""
    beating = threading.Thread(target=beats.run)
    beating.start()
    found = []
    while beating.is_alive():
        found += [viewers.first_content_ms(path) for path in dict.fromkeys(PATHS)]
    beating.join()
    return found
