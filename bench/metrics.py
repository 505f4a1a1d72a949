"""A scrape of a hub with many daemons and tasks, what the first one costs, and what counting costs a heartbeat."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

from bench.figures import Figure, Plan, percentile
from bench.load import load
from bench.processes import Hub
from bench.rounds import TASKS_FEW
from bench.stock import stock
from understudy.coordinator.changes import Event
from understudy.coordinator.nouns import Daemon, Notice
from understudy.hub.batch import Committed
from understudy.hub.counting import SIZES, TIMES_MS, Commits, Spread
from understudy.store.base import StoredEvent
from understudy.store.sqlite import SqliteStore

LIMIT_MS = 100.0  # docs/performance.md
DAEMONS = 10_000
TASKS = 10_000
SCRAPES = 30
COUNTED_PART = 1.0  # % of a heartbeat's CPU
REPEATED = 200_000
STATES = ("healthy", "healthy", "healthy", "late", "down", "asleep", "stopped")


def measure(plan: Plan) -> Iterator[Figure]:
    """Scrapes of hubs with 10,000 daemons, then with very many tasks as well; then the cost of counting."""
    for tasks in (TASKS, plan.tasks_many):
        folder = plan.folder / f"metrics-{tasks}"
        fill(stock(tasks, folder / "hub.db"))
        with Hub(folder) as hub:
            before_mib = hub.rss_mib()
            first_ms = _scrape_ms(hub)
            more_mib = hub.rss_mib() - before_mib
            runs = [_scrape_ms(hub) for _ in range(SCRAPES)]
        figure = Figure(
            "metrics",
            f"a scrape with {DAEMONS:,} daemons, {tasks:,} queued tasks",
            "ms",
            runs,
            target=f"≤ {LIMIT_MS:g} ms" if tasks == TASKS else "",
        )
        figure.holds = percentile(runs, 99) <= LIMIT_MS if figure.target else None
        figure.note = f"the first one {first_ms:.0f} ms and {more_mib:.1f} MiB"
        yield figure
    yield _counting(plan)


def fill(path: Path) -> None:
    """Add 10,000 daemons of all states, and as many notices: sent, waiting and dead."""
    store, now = SqliteStore(path), time.time_ns() // 1_000_000
    daemons = [
        Daemon(f"daemon-{n}", STATES[n % len(STATES)], last_seen_at=now, first_seen_at=now, beats=bytes(240))
        for n in range(DAEMONS)
    ]
    words = ("sent", "sent", "dead", "folded")
    notices = [
        Notice(f"notice-{n}", "ops", "notice", "daemon.late", state=words[n % len(words)], created_at=now)
        for n in range(DAEMONS)
    ]
    store.transaction(lambda tx: tx.save_many([*daemons, *notices]))
    store.close()


def _scrape_ms(hub: Hub) -> float:
    started = time.perf_counter()
    status, raw = hub.call("GET", "/metrics")
    took_ms = (time.perf_counter() - started) * 1000
    assert status == 200, raw
    assert b"understudy_store_up 1.0" in raw
    assert b'understudy_daemons{state="healthy"}' in raw
    return took_ms


def _counting(plan: Plan) -> Figure:
    """All that is counted for a heartbeat alone in its batch (the dearest way), beside its CPU at the hub."""
    folder = plan.folder / "metrics-beats"
    stock(TASKS_FEW, folder / "hub.db")
    with Hub(folder) as hub:
        beats = [load(hub, "beat_new", 64, plan.seconds).cpu_us for _ in range(plan.rounds)]
    counted_us = _each_us(_counter())
    figure = Figure(
        "metrics", "counting a heartbeat: its part of the CPU", "%", [100 * counted_us / us for us in beats]
    )
    figure.target, figure.holds = f"≤ {COUNTED_PART:g} %", figure.median <= COUNTED_PART
    figure.note = f"{counted_us:.2f} µs of {sorted(beats)[len(beats) // 2]:.0f} µs a request"
    return figure


def _counter() -> Callable[[], None]:
    """What EndpointApp, HubRuntime and Writer do for one heartbeat."""
    event = Event(0, "debug", "heartbeat.recorded", "Queue API", "Heartbeat recorded", {}, live_only=True)
    committed = Committed((None,), (StoredEvent(0, event), StoredEvent(0, event)))
    answered, commits = defaultdict(int, {500: 0, 503: 0}), Commits()
    sizes, times = Spread(SIZES), Spread(TIMES_MS)

    def count() -> None:
        answered[200] += 1
        commits.look_at(committed, has_failed=False)
        times.add(1)
        sizes.add(1)

    return count


def _each_us(work: Callable[[], None]) -> float:
    """The CPU of one call, without that of the loop around it."""

    def spent_s(called: Callable[[], None]) -> float:
        started = time.process_time()
        for _ in range(REPEATED):
            called()
        return time.process_time() - started

    return min(spent_s(work) - spent_s(lambda: None) for _ in range(3)) / REPEATED * 1e6
