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
        pairs = list(_alternating_ms(plan.folder / "fsync", hub, samples))
        fsyncs.append(percentile([pair[0] for pair in pairs], 99))
        enqueues.append(percentile([pair[1] for pair in pairs], 99))
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


def _alternating_ms(path: Path, hub: Hub, samples: int) -> Iterator[tuple[float, float]]:
    """One fsync of an appended page, one enqueue, and so on: both see the same disk."""
    connection = HTTPConnection("127.0.0.1", hub.port, timeout=30)
    descriptor = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
    try:
        for _ in range(samples):
            yield _fsync_ms(descriptor), _enqueue_ms(connection)
    finally:
        os.close(descriptor)
        connection.close()


def _fsync_ms(descriptor: int) -> float:
    os.write(descriptor, PAGE)
    started = time.perf_counter()
    os.fsync(descriptor)
    return (time.perf_counter() - started) * 1000


def _enqueue_ms(connection: HTTPConnection) -> float:
    started = time.perf_counter()
    connection.request("POST", "/api/queue", BODY, {"X-API-Key": KEY, "Content-Type": "application/json"})
    answer = connection.getresponse()
    answer.read()
    assert answer.status == 201, answer.status
    return (time.perf_counter() - started) * 1000
