"""How late an alarm is: from the deadline of a silent daemon to the event that a follower receives."""

from __future__ import annotations

import time
from collections.abc import Iterator

from bench.beats import beat_all
from bench.figures import Figure, Plan, percentile
from bench.listener import Heard, Listener
from bench.load import start_load
from bench.processes import Hub
from bench.stock import stock

IDLE_MS, LOADED_MS = 50, 250  # docs/performance.md, for 10,000 daemons
LOAD_CONNECTIONS = 64


def measure(plan: Plan) -> Iterator[Figure]:
    """1,000 and 10,000 daemons that all fall silent; idle, and with 64 connections of load beside."""
    for daemons in (1_000,) if plan.is_quick else (1_000, 10_000):
        for is_loaded in (False, True):
            yield from _figures(plan, daemons, is_loaded=is_loaded)


def _figures(plan: Plan, daemons: int, *, is_loaded: bool) -> Iterator[Figure]:
    decided: dict[str, list[float]] = {"late": [], "down": []}
    received: dict[str, list[float]] = {"late": [], "down": []}
    for round_ in range(plan.rounds):
        for kind, heard in silence(plan, daemons, f"{daemons}-{is_loaded}-{round_}", is_loaded=is_loaded).items():
            decided[kind].append(percentile([one.at - one.deadline_at for one in heard], 99))
            received[kind].append(percentile([one.received_at - one.deadline_at for one in heard], 99))
    limit = LOADED_MS if is_loaded else IDLE_MS
    when = "under load" if is_loaded else "idle"
    for kind, runs in received.items():
        seen = sorted(decided[kind])[len(runs) // 2]
        yield Figure(
            "alarm",
            f"{kind} after its deadline, {daemons:,} daemons, {when}, p99 at a follower",
            "ms",
            runs,
            target=f"≤ {limit} ms",
            holds=sorted(runs)[len(runs) // 2] <= limit,
            note=f"decided after {seen:.0f} ms",
        )


def silence(plan: Plan, daemons: int, name: str, *, is_loaded: bool) -> dict[str, list[Heard]]:
    """Let all daemons beat once, evenly over some seconds, then hear how they are missed."""
    spread_s = max(4.0, daemons / 800)
    late_s = spread_s + 4
    policy = {"late_after_ms": round(late_s * 1000), "down_after_ms": round(2 * late_s * 1000)}
    folder = plan.folder / f"alarm-{name}"
    stock(1_000, folder / "hub.db")
    names = [f"daemon-{n}" for n in range(daemons)]
    with Hub(folder, policy=policy) as hub, Listener(hub, "daemon.") as listener:
        beat_all(hub, names, within_s=spread_s)
        load = start_load(hub, "beat_old", LOAD_CONNECTIONS, 2 * late_s + spread_s) if is_loaded else None
        deadline = time.monotonic() + 2 * late_s + spread_s + 30
        while time.monotonic() < deadline and len(_ours(listener, "daemon.down")) < daemons:
            time.sleep(0.1)
        if load is not None:
            load.kill()
            load.wait()
        heard = {"late": _ours(listener, "daemon.late"), "down": _ours(listener, "daemon.down")}
        for kind, found in heard.items():
            assert len(found) == daemons, f"{len(found)} of {daemons} were said to be {kind}"
        return heard


def _ours(listener: Listener, name: str) -> list[Heard]:
    """Without the daemons of the load, which fall silent when it ends."""
    return [heard for heard in listener.named(name) if heard.fields["daemonId"].startswith("daemon-")]
