"""The same cycles in batches: claim 50, report 50."""

from __future__ import annotations

from collections.abc import Iterator

from bench.figures import Figure, Plan
from bench.rounds import compared, stand

LEAST_PER_S = 10_000  # docs/performance.md
TASKS_A_REQUEST = 25  # a claim and a report, 50 tasks
TASKS_A_SECOND_MOST = 16_000  # the load eats so many, at each number of connections


def measure(plan: Plan) -> Iterator[Figure]:
    """Tasks drained a second at each number of connections."""
    spare = round(TASKS_A_SECOND_MOST * plan.seconds * plan.rounds * len(plan.connections))
    with stand(plan, "batches", spare_tasks=spare) as servers:
        yield from compared(
            plan,
            servers,
            "batch",
            subject="batches",
            what="durable cycles in batches of 50",
            unit=" tasks/s",
            least_per_s=LEAST_PER_S,
            per_request=TASKS_A_REQUEST,
        )
        for hub in servers.hubs.values():
            assert hub.call("GET", "/api/queue")[1]["count"], "the queue ran dry: the figures are of something else"
