"""Resident memory of an idle hub, a daemon and its guard, each a process of its own."""

from __future__ import annotations

import time
from collections.abc import Iterator

import psutil

from bench.figures import Figure, Plan
from bench.pickup import result_of
from bench.processes import DaemonProcess, Hub

HUB_MIB, DAEMON_MIB = 70, 50  # docs/performance.md
SETTLE_S = 3.0


def measure(plan: Plan) -> Iterator[Figure]:
    """After a first task, when nothing happens any more."""
    hub_mib, daemon_mib, guard_mib = [], [], []
    for round_ in range(plan.rounds):
        folder = plan.folder / f"memory-{round_}"
        with Hub(folder / "hub") as hub, DaemonProcess(hub.port, folder / "daemon", daemon_id="idle") as daemon:
            task_id = hub.call("POST", "/api/queue", {"content": "hello"})[1]["taskId"]
            result_of(hub, task_id)
            time.sleep(SETTLE_S)
            hub_mib.append(hub.rss_mib())
            daemon_mib.append(daemon.rss_mib())
            guards = [p for p in psutil.Process(daemon.pid).children() if "understudy.worker.guard" in p.cmdline()]
            guard_mib += [guard.memory_info().rss / (1 << 20) for guard in guards]
    for runs, what, limit in (
        (hub_mib, "hub", HUB_MIB),
        (daemon_mib, "daemon", DAEMON_MIB),
        (guard_mib, "guard", 0),
    ):
        if not runs:
            continue
        figure = Figure("memory", f"resident memory, idle {what}", "MiB", runs)
        if limit:
            figure.target, figure.holds = f"≤ {limit} MiB", figure.median <= limit
        yield figure
