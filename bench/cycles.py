"""Durable claim + result cycles over HTTP, two requests each, by 64 workers in turn."""

from __future__ import annotations

from collections.abc import Iterator

from bench.figures import Figure, Plan
from bench.rounds import compared, stand

LEAST = 0.08  # docs/performance.md
CYCLES_A_SECOND_MOST = 9_000  # the load eats so many, at each number of connections


def measure(plan: Plan) -> Iterator[Figure]:
    """Cycles at each number of connections."""
    spare = round(CYCLES_A_SECOND_MOST * plan.seconds * plan.rounds * len(plan.connections))
    with stand(plan, "cycles", spare_tasks=spare) as servers:
        yield from compared(
            plan,
            servers,
            "cycle",
            subject="cycles",
            what="durable claim + result cycles",
            unit="/s",
            least=LEAST,
            per_request=0.5,
        )
        for hub in servers.hubs.values():
            assert hub.call("GET", "/api/queue")[1]["count"], "the queue ran dry: the figures are of something else"
