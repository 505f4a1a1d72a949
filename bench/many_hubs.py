"""Hubs on PostgreSQL, one and two on a database, beside the Python queues that people run on the same server.

`make bench ARGS="many_hubs --write"`: about seven minutes on two quiet cores. The server has durable settings and
shares this machine's cores with hubs, load and peers: `pip install -e '.[bench]'` brings these.

Each queue is drained: all is enqueued before, with 200 bytes of content each, and the tables are analysed, ours and the
peers'; the time is that from the first claim until the last end is durable. Both peers keep all their tables logged
and commit each claim and each end. pgqueuer takes 50 at a time and ends them in batches too, as ours does here, and
writes three rows of a log about each job; procrastinate takes one at a time. They drain their queues in one Python
process, without HTTP, keys or leases. Ours is asked over HTTP by another process, and stores events, attempts, results.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from statistics import median

import msgspec
import psycopg
from msgspec import Struct

from bench.figures import Figure, Plan, percentile
from bench.load import load, start_load
from bench.pickup import pickups_ms
from bench.processes import HERE, Hub, free_port
from bench.stock import fill
from tests.postgres import Server, running_server
from understudy.clock import SystemClock
from understudy.store.opening import open_store

KINDS = (  # of load, and how many tasks are drained; 0: so many requests a second
    ("beat_new", "durable heartbeats, full body", "/s", 0),
    ("cycle", "durable claim + result cycles", "/s", 2_000),
    ("batch", "durable cycles in batches of 50", " tasks/s", 30_000),
)
PEERS = {"pgqueuer": 30_000, "procrastinate": 2_000}  # how many jobs each drains
DRAINED_WITHIN_S = 120
QUICK_PART = 5
_IS_DRAINED = (
    "SELECT NOT EXISTS (SELECT 1 FROM task WHERE ready = 1)"
    " AND NOT EXISTS (SELECT 1 FROM task WHERE status = 'leased' AND expires_h > 0)"
)
PICKUP_MS = 50


def measure(plan: Plan) -> Iterator[Figure]:
    """Peers, one hub and two in turn; then pickup across hubs, on a server that has nothing else to write or vacuum."""
    for part in (_rates, _pickup):
        with running_server(port=free_port(), shared_buffers="256MB", max_wal_size="4GB") as server:
            yield from part(plan, server)


def hub_on(plan: Plan, url: str, name: str) -> Hub:
    """A hub on a database."""
    return Hub(plan.folder / f"many-hubs-{name}", settings={"store": url, "hub_name": name})


def filled(plan: Plan, server: Server, tasks: int) -> str:
    """The name of a new database with so many tasks in the queue."""
    url = server.new_database()
    store = open_store(url, "", plan.folder, SystemClock())
    fill(store, tasks)
    store.close()
    name = url.rpartition("/")[2].partition("?")[0]
    server.ask("VACUUM ANALYZE", database=name)
    return name


# ---- rates


def _rates(plan: Plan, server: Server) -> Iterator[Figure]:
    peers = {name: server.new_database() for name in PEERS if importlib.util.find_spec(name)}
    drained: dict[str, list[float]] = {name: [] for name in peers}
    ours: dict[_Case, list[float]] = {case: [] for case in _cases(plan)}
    stocks = {tasks: filled(plan, server, tasks) for tasks in sorted({case.tasks for case in ours})}
    for round_ in range(plan.rounds):
        for name, url in peers.items():
            drained[name].append(_drained_per_s(name, url, _jobs(plan, PEERS[name])))
        for case, runs in ours.items():
            runs.append(_rate(plan, server, case, stocks[case.tasks], f"{round_}-{case.name}"))
    for name, runs in drained.items():
        yield Figure("many_hubs", f"{name}: {_jobs(plan, PEERS[name]):,} jobs drained by one worker", " tasks/s", runs)
    best = max((median(runs) for runs in drained.values()), default=0.0)
    alone = {(case.kind, case.connections): median(runs) for case, runs in ours.items() if case.hubs == 1}
    for case, runs in ours.items():
        figure = Figure("many_hubs", case.what, case.unit, runs)
        floor = alone[case.kind, case.connections] if case.hubs > 1 else 0.0
        if case.kind == "batch" and case.connections == max(plan.connections):
            floor = max(floor, best)
        if floor:
            figure.target = f"> {floor:,.0f}: {'the peers' if floor == best else 'one hub'}"
            figure.holds = figure.median > floor
        yield figure


class _Case(Struct, frozen=True):
    """A load on one hub or two."""

    kind: str
    what: str
    unit: str
    tasks: int
    hubs: int
    connections: int

    @property
    def name(self) -> str:
        return f"{self.kind}-{self.hubs}-{self.connections}"


def _cases(plan: Plan) -> Iterator[_Case]:
    for kind, what, unit, most in KINDS:
        tasks = _jobs(plan, most)
        for connections in plan.connections:
            words = f"{what}, 1 hub, {connections} connections"
            yield _Case(kind, words, unit, tasks, 1, connections)
        words = f"{what}, 2 hubs, {max(plan.connections)} connections"
        yield _Case(kind, words, unit, tasks, 2, max(plan.connections))


def _jobs(plan: Plan, most: int) -> int:
    return most // QUICK_PART if plan.is_quick else most


def _rate(plan: Plan, server: Server, case: _Case, stock: str, name: str) -> float:
    url = server.new_database(stock)
    with ExitStack() as stack:
        hubs = [stack.enter_context(hub_on(plan, url, f"{name}-{n}")) for n in range(case.hubs)]
        if not case.tasks:
            return sum(_loaded(hubs, case.kind, case.connections, plan.seconds))
        return case.tasks / _drained_s(url, hubs, case)


def _drained_s(url: str, hubs: list[Hub], case: _Case) -> float:
    """How long it takes until nothing is left."""
    with psycopg.connect(url, autocommit=True) as look:
        began = time.perf_counter()
        loads = [start_load(hub, case.kind, case.connections // len(hubs), DRAINED_WITHIN_S) for hub in hubs]
        try:
            while look.execute(_IS_DRAINED).fetchone() != (True,):
                time.sleep(0.1)  # each look reads what is not vacuumed yet
                if time.perf_counter() - began > DRAINED_WITHIN_S:
                    raise RuntimeError(f"{case.what}: not drained within {DRAINED_WITHIN_S} s")
            return time.perf_counter() - began
        finally:
            _end(loads)


def _end(loads: list[subprocess.Popen[str]]) -> None:
    for running in loads:
        running.kill()
        running.wait()


def _loaded(hubs: list[Hub], kind: str, connections: int, seconds: float) -> list[float]:
    """The requests a second of each hub, all loaded at once."""
    with ThreadPoolExecutor(len(hubs)) as pool:
        asked = [pool.submit(load, hub, kind, connections // len(hubs), seconds) for hub in hubs]
        return [one.result().rate_per_s for one in asked]


def _drained_per_s(name: str, url: str, jobs: int) -> float:
    command = [sys.executable, str(HERE / "peers" / f"{name}_drain.py"), url, str(jobs)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode:
        raise RuntimeError(f"{name}: {done.stderr[-500:]}")
    return float(msgspec.json.decode(done.stdout.splitlines()[-1])["per_s"])


# ---- pickup


def _pickup(plan: Plan, server: Server) -> Iterator[Figure]:
    url = server.new_database()
    with hub_on(plan, url, "asked") as asked, hub_on(plan, url, "given") as given:
        time.sleep(1)  # until both listen
        runs = [pickups_ms(asked, given, 30 if plan.is_quick else 200) for _ in range(plan.rounds)]
    figure = Figure(
        "many_hubs",
        "enqueue sent to one hub → task in the hands of a long poll at another, p99",
        "ms",
        [percentile(run, 99) for run in runs],
        target=f"< {PICKUP_MS} ms",
        note=f"p50 {percentile([ms for run in runs for ms in run], 50):.1f} ms",
    )
    figure.holds = figure.median < PICKUP_MS
    yield figure
