"""Hubs on PostgreSQL, one and two on a database, beside the Python queues that people run on the same server.

The server has durable settings and shares this machine's cores with hubs, load and peers. The peers drain their own
queues in one process, without HTTP: `pip install -e '.[bench]'` brings them.
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
from msgspec import Struct

from bench.figures import Figure, Plan, percentile
from bench.load import load
from bench.pickup import pickups_ms
from bench.processes import HERE, Hub, free_port
from bench.rounds import COSTS_AS_WITH_FEW, TASKS_FEW
from bench.stock import fill
from tests.postgres import Server, running_server
from understudy.clock import SystemClock
from understudy.store.opening import open_store

KINDS = (  # of load, what one request stands for, a rate that uses up its stock
    ("beat_new", "durable heartbeats, full body", "/s", 1.0, 0),
    ("cycle", "durable claim + result cycles", "/s", 0.5, 3_000),
    ("batch", "durable cycles in batches of 50", " tasks/s", 25.0, 15_000),
)
PEERS = {"pgqueuer": 10_000, "procrastinate": 2_000}  # how many jobs each drains
PICKUP_MS = 50
START_S = 2.0
DAEMONS_FEW = 1_000


def measure(plan: Plan) -> Iterator[Figure]:
    """Peers, one hub and two in turn; then pickup across hubs, and what many rows cost."""
    with running_server(port=free_port(), shared_buffers="256MB", max_wal_size="4GB") as server:
        yield from _rates(plan, server)
        yield from _pickup(plan, server)
        yield from _many_rows(plan, server)


def _hub(plan: Plan, url: str, name: str) -> Hub:
    return Hub(plan.folder / f"many-hubs-{name}", settings={"store": url, "hub_name": name})


def _filled(plan: Plan, url: str, tasks: int) -> None:
    store = open_store(url, "", plan.folder, SystemClock())
    fill(store, tasks)
    store.close()


# ---- rates


def _rates(plan: Plan, server: Server) -> Iterator[Figure]:
    peers = {name: server.new_database() for name in PEERS if importlib.util.find_spec(name)}
    drained: dict[str, list[float]] = {name: [] for name in peers}
    ours: dict[_Case, list[float]] = {case: [] for case in _cases(plan)}
    for round_ in range(plan.rounds):
        for name, url in peers.items():
            drained[name].append(_drained_per_s(name, url))
        for case, runs in ours.items():
            runs.append(_rate(plan, server, case, f"{round_}-{case.name}"))
    for name, runs in drained.items():
        yield Figure("many_hubs", f"{name}: {PEERS[name]:,} jobs drained by one worker", " tasks/s", runs)
    best = max((median(runs) for runs in drained.values()), default=0.0)
    for case, runs in ours.items():
        figure = Figure("many_hubs", case.what, case.unit, runs)
        if best and case.kind == "batch" and case.connections == max(plan.connections):
            figure.target = f"> {best:,.0f}: the peers"
            figure.holds = figure.median > best
        yield figure


class _Case(Struct, frozen=True):
    """A load on one hub or two."""

    kind: str
    what: str
    unit: str
    per_request: float
    eaten_per_s: int
    hubs: int
    connections: int

    @property
    def name(self) -> str:
        return f"{self.kind}-{self.hubs}-{self.connections}"


def _cases(plan: Plan) -> Iterator[_Case]:
    for kind, what, unit, per_request, eaten_per_s in KINDS:
        for connections in plan.connections:
            words = f"{what}, 1 hub, {connections} connections"
            yield _Case(kind, words, unit, per_request, eaten_per_s, 1, connections)
        words = f"{what}, 2 hubs, {max(plan.connections)} connections"
        yield _Case(kind, words, unit, per_request, eaten_per_s, 2, max(plan.connections))


def _rate(plan: Plan, server: Server, case: _Case, name: str) -> float:
    url = server.new_database()
    _filled(plan, url, TASKS_FEW + round(case.eaten_per_s * plan.seconds))
    with ExitStack() as stack:
        hubs = [stack.enter_context(_hub(plan, url, f"{name}-{n}")) for n in range(case.hubs)]
        return sum(_loaded(hubs, case.kind, case.connections, plan.seconds)) * case.per_request


def _loaded(hubs: list[Hub], kind: str, connections: int, seconds: float) -> list[float]:
    """The rate of each hub, all loaded at once."""
    with ThreadPoolExecutor(len(hubs)) as pool:
        asked = [pool.submit(load, hub, kind, connections // len(hubs), seconds) for hub in hubs]
        return [one.result().rate_per_s for one in asked]


def _drained_per_s(name: str, url: str) -> float:
    command = [sys.executable, str(HERE / "peers" / f"{name}_drain.py"), url, str(PEERS[name])]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode:
        raise RuntimeError(f"{name}: {done.stderr[-500:]}")
    return float(msgspec.json.decode(done.stdout.splitlines()[-1])["per_s"])


# ---- pickup


def _pickup(plan: Plan, server: Server) -> Iterator[Figure]:
    url = server.new_database()
    with _hub(plan, url, "asked") as asked, _hub(plan, url, "given") as given:
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


# ---- many rows


def _many_rows(plan: Plan, server: Server) -> Iterator[Figure]:
    tasks = {TASKS_FEW + 30_000: DAEMONS_FEW, plan.tasks_many: plan.daemons_many}
    rates: dict[str, dict[int, list[float]]] = {"beat_new": {}, "cycle": {}}
    with ExitStack() as stack:
        hubs = {}
        for count, daemons in tasks.items():
            url = server.new_database()
            _filled(plan, url, count)
            hub = hubs[count] = stack.enter_context(_hub(plan, url, f"rows-{count}"))
            seen = 0
            while seen < daemons:
                seen += load(hub, "beat_new", 64, 5, {"BENCH_DAEMONS": str(daemons), "BENCH_FROM": str(seen)}).requests
        for round_ in range(plan.rounds):
            for kind, runs in rates.items():
                for count, hub in hubs.items():
                    env = {"BENCH_DAEMONS": str(tasks[count]), "BENCH_SEQ": str(10 + round_ * 1000)}
                    runs.setdefault(count, []).append(load(hub, kind, 64, plan.seconds, env).rate_per_s)
        starts = []
        for _ in range(plan.rounds):
            hub = hubs[plan.tasks_many]
            hub.kill()
            began = time.perf_counter()
            hub.launch()
            hub.wait_ready()
            starts.append(time.perf_counter() - began)
    for kind, runs in rates.items():
        few, many = runs.values()
        what = f"{kind}: cost with {plan.tasks_many:,} tasks and {plan.daemons_many:,} daemons by that with few"
        ratios = [a / b for a, b in zip(few, many, strict=True)]
        figure = Figure("many_hubs", what, "×", ratios, target=f"≤ {COSTS_AS_WITH_FEW}")
        figure.holds = figure.median <= COSTS_AS_WITH_FEW
        yield figure
    figure = Figure("many_hubs", "start to serving, with as many", "s", starts, target=f"< {START_S:g} s")
    figure.holds = figure.median < START_S
    yield figure
