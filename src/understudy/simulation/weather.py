"""The faults of one world and their rates: chosen from its seed, so that calm worlds exist too."""

from __future__ import annotations

import random

import msgspec

from understudy.coordinator.nouns import Policy
from understudy.coordinator.takeover_nouns import TakeoverPolicy
from understudy.simulation.service import PRICES


class Weather(msgspec.Struct, frozen=True):
    """Probabilities for each request, and mean distances (ms, 0: never) of the faults of hub and machines."""

    request_lost: float = 0.0
    request_late: float = 0.0
    request_twice: float = 0.0
    answer_lost: float = 0.0
    answer_late: float = 0.0
    late_ms_max: int = 90_000
    commit_fails: float = 0.0  # the store refuses: nothing of the batch is kept
    hub_out_ms: int = 0  # between stops, kills and freezes of the hub
    clock_jump_ms: int = 0
    machine_trouble_ms: int = 0  # between crashes, freezes, sleeps and cut links, for each machine
    will_lost: float = 0.0  # the guard dies together with its daemon
    restart_ms_max: int = 60_000
    steering_ms: int = 0  # between cancels, retries and moves

    @property
    def is_calm(self) -> bool:
        """True if nothing at all goes wrong and nobody interferes."""
        return self == Weather(late_ms_max=self.late_ms_max, restart_ms_max=self.restart_ms_max)


CALM = Weather()
CALM_SHARE, HARMLESS_SHARE = 0.08, 0.2


def weather_of(chance: random.Random) -> Weather:
    """The weather of a world."""
    kind = chance.random()
    if kind < CALM_SHARE:
        return CALM
    rough = chance.choice((0.01, 0.03, 0.08, 0.15))
    network = Weather(
        request_lost=_some(chance, rough),
        request_late=_some(chance, rough),
        request_twice=_some(chance, rough),
        answer_lost=_some(chance, rough),
        answer_late=_some(chance, rough),
        commit_fails=chance.choice((0.0, 0.0, 0.01)),
        steering_ms=chance.choice((0, 60_000, 15_000)),
    )
    if kind < HARMLESS_SHARE:
        return network
    return msgspec.structs.replace(
        network,
        hub_out_ms=chance.choice((0, 240_000, 120_000)),
        clock_jump_ms=chance.choice((0, 0, 300_000)),
        machine_trouble_ms=chance.choice((0, 120_000, 50_000, 25_000)),
        will_lost=chance.choice((0.0, 0.3, 1.0)),
        restart_ms_max=chance.choice((500, 5_000, 60_000, 150_000)),
    )


def policy_of(chance: random.Random) -> Policy:
    """The policy of this hub: short limits, so that much happens in little time."""
    late_ms = chance.choice((30_000, 60_000, 180_000))
    return Policy(
        lease_ms=chance.choice((10_000, 10_000, 30_000)),
        late_after_ms=late_ms,
        down_after_ms=late_ms + chance.choice((30_000, 60_000)),
        losses_max=chance.choice((2, 5, 5)),
    )


def takeover_of(chance: random.Random) -> TakeoverPolicy:
    """The policy of takeover of this hub."""
    return TakeoverPolicy(
        mode=chance.choice(("answer", "answer", "interim", "notify")),
        has_key=True,
        access="simulated",
        model="simulated",
        price=PRICES["simulated"],
        fallback_model="in its stead",
        fallback_price=PRICES["in its stead"],
        answer_tokens_max=200,
        timeout_ms=chance.choice((10_000, 60_000)),
        after_ms=60_000,
        task_micro_usd=chance.choice((5_000, 50_000)),
        day_micro_usd=chance.choice((15_000, 1_000_000)),
        calls_a_minute=chance.choice((2, 20)),
        calls_at_once=chance.choice((1, 2, 4)),
        probes=chance.random() < 0.3,  # noqa: PLR2004
    )


def _some(chance: random.Random, rough: float) -> float:
    return chance.choice((0.0, rough, rough))
