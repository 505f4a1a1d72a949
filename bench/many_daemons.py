"""100,000 daemons in the store, beating from a bounded generator: costs as with 1,000."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

from bench.figures import Figure, Plan
from bench.load import load
from bench.processes import Bare, Hub
from bench.rounds import COSTS_AS_WITH_FEW

DAEMONS_FEW = 1_000


def measure(plan: Plan) -> Iterator[Figure]:
    """Both hubs get the same load; the store of the second holds many daemons."""
    many = plan.daemons_many
    with ExitStack() as stack:
        hubs = {n: stack.enter_context(Hub(plan.folder / f"daemons-{n}")) for n in (DAEMONS_FEW, many)}
        bare = stack.enter_context(Bare(plan.folder))
        seen = 0
        while seen < many:  # each must be in the store before anything is measured
            seen += load(hubs[many], "beat_new", 64, 5, {"BENCH_DAEMONS": str(many), "BENCH_FROM": str(seen)}).requests
        rates: dict[int, list[float]] = {n: [] for n in hubs}
        bare_rates = []
        for round_ in range(plan.rounds):
            bare_rates.append(load(bare, "bare", 64, plan.seconds).rate_per_s)
            for n, hub in hubs.items():
                env = {
                    "BENCH_DAEMONS": str(n),
                    "BENCH_FROM": str(round_ * n // 3),
                    "BENCH_SEQ": str(10 + round_ * 1000),
                }
                rates[n].append(load(hub, "beat_new", 64, plan.seconds, env).rate_per_s)
        rss = hubs[many].rss_mib()
        status, listed = hubs[many].call("GET", "/api/daemons")
    for n, runs in rates.items():
        yield Figure("many_daemons", f"full heartbeats, 64 connections, {n:,} daemons", "/s", runs, bare_rates)
    ratio = Figure(
        "many_daemons",
        f"a heartbeat's cost with {many:,} daemons by its cost with {DAEMONS_FEW:,}",
        "×",
        [a / b for a, b in zip(rates[DAEMONS_FEW], rates[many], strict=True)],
        target=f"≤ {COSTS_AS_WITH_FEW}",
        note=f"memory of that hub {rss:.0f} MiB; GET /api/daemons {status}, {len(listed['daemons']):,} shown",
    )
    ratio.holds = ratio.median <= COSTS_AS_WITH_FEW
    yield ratio
