"""What a hub on PostgreSQL costs with 1,000,000 tasks and 100,000 daemons, by what it costs with few, and its start."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack

from bench.figures import Figure, Plan
from bench.load import load
from bench.many_hubs import filled, hub_on
from bench.processes import free_port
from bench.rounds import COSTS_AS_WITH_FEW, TASKS_FEW
from tests.postgres import Server, running_server

START_S = 2.0
DAEMONS_FEW = 1_000


def measure(plan: Plan) -> Iterator[Figure]:
    """Beats and cycles in turns on both; then the start with many."""
    with running_server(port=free_port(), shared_buffers="256MB", max_wal_size="4GB") as server:
        yield from _measured(plan, server)


def _measured(plan: Plan, server: Server) -> Iterator[Figure]:
    tasks = {TASKS_FEW + 30_000: DAEMONS_FEW, plan.tasks_many: plan.daemons_many}
    rates: dict[str, dict[int, list[float]]] = {"beat_new": {}, "cycle": {}}
    with ExitStack() as stack:
        hubs = {}
        for count, daemons in tasks.items():
            url = server.url(filled(plan, server, count))
            hub = hubs[count] = stack.enter_context(hub_on(plan, url, f"rows-{count}"))
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
        figure = Figure("many_rows", what, "×", ratios, target=f"≤ {COSTS_AS_WITH_FEW}")
        figure.holds = figure.median <= COSTS_AS_WITH_FEW
        yield figure
    figure = Figure("many_rows", "start to serving, with as many", "s", starts, target=f"< {START_S:g} s")
    figure.holds = figure.median < START_S
    yield figure
