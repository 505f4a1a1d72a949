"""Durable heartbeats over HTTP: the old body `{workerId}` and the full new one, from 1,000 daemons."""

from __future__ import annotations

from collections.abc import Iterator

from bench.figures import Figure, Plan
from bench.rounds import compared, stand

LEAST = 0.3  # docs/performance.md


def measure(plan: Plan) -> Iterator[Figure]:
    """Both bodies at each number of connections."""
    with stand(plan, "heartbeats") as servers:
        for kind, name in (("beat_old", "old body"), ("beat_new", "full body")):
            yield from compared(
                plan,
                servers,
                kind,
                subject="heartbeats",
                what=f"durable heartbeats, {name}",
                unit="/s",
                least=LEAST,
            )
