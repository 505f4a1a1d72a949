"""Acknowledged enqueues: their rate, and one connection's p99 beside the p99 of a bare fsync on the same disk."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path

from bench.figures import Figure, Plan, percentile
from bench.processes import KEY, Hub
from bench.rounds import compared, stand

SAMPLES = 500
PAGE = b"x" * 4096
BODY = b'{"content":"' + b"x" * 200 + b'","source":"bench"}'


def measure(plan: Plan) -> Iterator[Figure]:
    """Rates beside bare, then latency beside fsync."""
    with stand(plan, "enqueue") as servers:
        yield from compared(plan, servers, "enqueue", subject="enqueue", what="acknowledged enqueues", unit="/s")
        for tasks, hub in servers.hubs.items():
            yield from _beside_fsync(plan, hub, tasks)


def _beside_fsync(plan: Plan, hub: Hub, tasks: int) -> Iterator[Figure]:
    samples = 100 if plan.is_quick else SAMPLES
    enqueues, fsyncs = [], []
    for _ in range(plan.rounds):
        fsyncs.append(percentile(_fsync_ms(plan.folder / "fsync", samples), 99))
        enqueues.append(percentile(_enqueue_ms(hub, samples), 99))
    yield Figure("enqueue", "one fsync of 4 KiB on this disk, p99", "ms", fsyncs)
    limit = [2 * fsync + 1 for fsync in fsyncs]
    figure = Figure(
        "enqueue",
        f"acknowledged enqueue, 1 connection, {tasks:,} tasks, p99",
        "ms",
        enqueues,
        target="< 2 × fsync + 1 ms, p99",
        note=f"limit in these rounds {min(limit):.1f}–{max(limit):.1f} ms",
    )
    slack = sorted(limit[n] - enqueues[n] for n in range(plan.rounds))
    figure.holds = slack[plan.rounds // 2] > 0
    yield figure


def _fsync_ms(path: Path, samples: int) -> list[float]:
    taken = []
    descriptor = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
    for _ in range(samples):
        os.write(descriptor, PAGE)
        started = time.perf_counter()
        os.fsync(descriptor)
        taken.append((time.perf_counter() - started) * 1000)
    os.close(descriptor)
    return taken


def _enqueue_ms(hub: Hub, samples: int) -> list[float]:
    taken = []
    connection = HTTPConnection("127.0.0.1", hub.port, timeout=30)
    headers = {"X-API-Key": KEY, "Content-Type": "application/json"}
    for _ in range(samples):
        started = time.perf_counter()
        connection.request("POST", "/api/queue", BODY, headers)
        answer = connection.getresponse()
        answer.read()
        taken.append((time.perf_counter() - started) * 1000)
        assert answer.status == 201, answer.status
    connection.close()
    return taken
