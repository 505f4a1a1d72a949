"""100,000 daemons in the store, beating from a bounded generator: costs as with 1,000."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import quote

from msgspec.structs import replace

from bench.figures import Figure, Plan
from bench.load import load
from bench.processes import Bare, Hub
from bench.rounds import COSTS_AS_WITH_FEW
from understudy.clock import SystemClock
from understudy.coordinator.nouns import Daemon, Period, Policy
from understudy.hub.batch import Engine
from understudy.hub.heartbeats import RecordHeartbeat
from understudy.ids import IdMaker
from understudy.store.base import Transaction
from understudy.store.sqlite import SqliteStore
from understudy.wire.daemons import HeartbeatBody

DAEMONS_FEW = 1_000
ROWS_A_BATCH = 1_000


def fill(path: Path, daemons: int) -> None:
    """A store that knows so many, more than a hub takes in: one is heard by its rules, the others are its copies."""
    path.parent.mkdir(parents=True, exist_ok=True)
    store, clock = SqliteStore(path), SystemClock()
    model = HeartbeatBody(daemon_id="beat-0", machine_id="machine-0", boot_id="boot-0", seq=1, interval_sec=10)
    Engine(store, clock, IdMaker(clock), Policy()).run([RecordHeartbeat(model)])

    def copy(tx: Transaction, first: int) -> None:
        (daemon,), (period,) = tx.load_many(Daemon, ("beat-0",)), tx.load_all(Period, 1)
        for n in range(max(first, 1), min(first + ROWS_A_BATCH, daemons)):
            name = f"beat-{n}"
            copied = replace(daemon, id=name, machine_id=f"machine-{n}", boot_id=f"boot-{n}")
            tx.save_many([copied, replace(period, daemon_id=name)])

    for first in range(0, daemons, ROWS_A_BATCH):
        store.transaction(lambda tx, first=first: copy(tx, first))  # type: ignore[misc]
    store.close()


def all_listed(hub: Hub) -> tuple[int, int]:
    """The daemons on all pages of the list, and the number of pages."""
    path, found = "/api/daemons", []
    while path:
        _, page = hub.call("GET", path)
        found.append(len(page["daemons"]))
        path = f"/api/daemons?cursor={quote(page['next'])}" if "next" in page else ""
    return sum(found), len(found)


def measure(plan: Plan) -> Iterator[Figure]:
    """Both hubs get the same load; the store of the second holds many daemons."""
    many = plan.daemons_many
    for n in (DAEMONS_FEW, many):
        fill(plan.folder / f"daemons-{n}" / "hub.db", n)
    with ExitStack() as stack:
        hubs = {n: stack.enter_context(Hub(plan.folder / f"daemons-{n}")) for n in (DAEMONS_FEW, many)}
        bare = stack.enter_context(Bare(plan.folder))
        rates: dict[int, list[float]] = {n: [] for n in hubs}
        bare_rates = []
        for round_ in range(plan.rounds):
            bare_rates.append(load(bare, "bare", 64, plan.seconds).rate_per_s)
            for n, hub in hubs.items():
                env = {
                    "BENCH_DAEMONS": str(n),
                    "BENCH_FROM": str(round_ * n // 3),
                    "BENCH_SEQ": str(10 + round_ * 1000),
                }
                rates[n].append(load(hub, "beat_new", 64, plan.seconds, env).rate_per_s)
        rss = hubs[many].rss_mib()
        listed, pages = all_listed(hubs[many])
    for n, runs in rates.items():
        yield Figure("many_daemons", f"full heartbeats, 64 connections, {n:,} daemons", "/s", runs, bare_rates)
    ratio = Figure(
        "many_daemons",
        f"a heartbeat's cost with {many:,} daemons by its cost with {DAEMONS_FEW:,}",
        "×",
        [a / b for a, b in zip(rates[DAEMONS_FEW], rates[many], strict=True)],
        target=f"≤ {COSTS_AS_WITH_FEW}",
        note=f"memory of that hub {rss:.0f} MiB; GET /api/daemons: {listed:,} on {pages} pages",
    )
    ratio.holds = ratio.median <= COSTS_AS_WITH_FEW
    yield ratio
