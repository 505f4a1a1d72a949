"""2,000 long polls that wait: what they cost the others, and how soon one of them gets its task."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack

from bench.figures import Figure, Plan, percentile
from bench.load import load
from bench.pickup import LIMIT_MS, pickups_ms, request
from bench.processes import Bare, Hub
from bench.rounds import COSTS_AS_WITH_FEW

POLLS = 2_000
SAMPLES = 100


def measure(plan: Plan) -> Iterator[Figure]:
    """Heartbeats and pick-up beside 2,000 waiting polls, compared with a hub on which nobody waits."""
    beats: dict[int, list[float]] = {0: [], POLLS: []}
    picked: dict[int, list[float]] = {0: [], POLLS: []}
    bare_rates: list[float] = []
    with ExitStack() as stack:
        hubs = {polls: stack.enter_context(Hub(plan.folder / f"waiting-{polls}")) for polls in beats}
        bare = stack.enter_context(Bare(plan.folder))
        for round_ in range(plan.rounds):
            with ExitStack() as lines:
                for n in range(POLLS):
                    line = lines.enter_context(socket.create_connection(("127.0.0.1", hubs[POLLS].port)))
                    body = {"workerId": f"poll-{round_}-{n}", "provides": [f"tag-{n % 50}"], "waitSec": 60, "max": 1}
                    line.sendall(request("/api/queue/claim", body))
                bare_rates.append(load(bare, "bare", 64, plan.seconds).rate_per_s)
                for polls, hub in hubs.items():
                    beats[polls].append(load(hub, "beat_new", 64, plan.seconds).rate_per_s)
                    picked[polls].append(percentile(pickups_ms(hub, hub, 30 if plan.is_quick else SAMPLES), 99))
                rss = hubs[POLLS].rss_mib()
    yield Figure("waiting", f"full heartbeats beside {POLLS:,} waiting polls", "/s", beats[POLLS], bare_rates)
    ratio = Figure(
        "waiting",
        f"a heartbeat's cost beside {POLLS:,} waiting polls by its cost without",
        "×",
        [a / b for a, b in zip(beats[0], beats[POLLS], strict=True)],
        target=f"≤ {COSTS_AS_WITH_FEW}",
        note=f"memory of that hub {rss:.0f} MiB",
    )
    ratio.holds = ratio.median <= COSTS_AS_WITH_FEW
    yield ratio
    pickup = Figure(
        "waiting",
        f"enqueue sent → task in the hands of one poll beside {POLLS:,} others, p99",
        "ms",
        picked[POLLS],
        target=f"≤ {LIMIT_MS} ms",
        note=f"without them {sorted(picked[0])[len(picked[0]) // 2]:.1f} ms",
    )
    pickup.holds = pickup.median <= LIMIT_MS
    yield pickup
