"""From the start of a hub to its first answer, with many tasks in its store; after a stop, and after a SIGKILL."""

from __future__ import annotations

import time
from collections.abc import Iterator

from bench.figures import Figure, Plan
from bench.load import load
from bench.processes import Hub
from bench.rounds import TASKS_FEW
from bench.stock import stock

LIMIT_S = 1.0  # docs/performance.md


def measure(plan: Plan) -> Iterator[Figure]:
    """Few and many tasks; the process is launched, then asked for /health again and again."""
    for tasks in (TASKS_FEW, plan.tasks_many):
        folder = plan.folder / f"start-{tasks}"
        stock(tasks, folder / "hub.db")
        hub = Hub(folder)
        stopped, killed = [], []
        for _ in range(plan.rounds):
            stopped.append(_start_s(hub))
            load(hub, "cycle", 16, 1)
            hub.kill()
            killed.append(_start_s(hub))
            hub.stop()
        for runs, how in ((stopped, "after a stop"), (killed, "after a SIGKILL under load")):
            figure = Figure(
                "start", f"hub start to serving, {tasks:,} tasks, {how}", "s", runs, target=f"≤ {LIMIT_S:g} s"
            )
            figure.holds = figure.median <= LIMIT_S
            yield figure


def _start_s(hub: Hub) -> float:
    started = time.perf_counter()
    hub.launch()
    hub.wait_ready()
    return time.perf_counter() - started
