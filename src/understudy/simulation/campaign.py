"""Plays many worlds, says how fast, and tells the story of the first that goes wrong."""

from __future__ import annotations

import time
from contextlib import nullcontext
from typing import TextIO

from understudy.simulation.mutants import MUTANTS
from understudy.simulation.scenario import Outcome, play
from understudy.texts import t

SEEDS = 50
TOLD_EVERY_S = 2.0
EXIT_GREEN, EXIT_BROKEN = 0, 1


def verify(seeds: int, seed: int | None, out: TextIO, *, mutant: str = "") -> int:
    """Play the worlds 1 to `seeds`, or the one of `seed` → 0 if no invariant broke, else 1.

    With a mutant, a bug is planted in the hub: then a world that goes wrong is what one hopes for, and 1.
    """
    planted = MUTANTS[mutant]() if mutant else nullcontext()
    started_s = told_s = time.perf_counter()
    outcomes: list[Outcome] = []
    with planted:
        for nth in [seed] if seed is not None else range(1, seeds + 1):
            outcome = play(nth)
            outcomes.append(outcome)
            if outcome.violation is not None:
                _tell_failure(outcome, out, mutant)
                return EXIT_BROKEN
            if time.perf_counter() - told_s >= TOLD_EVERY_S:
                told_s = time.perf_counter()
                _tell(outcomes, told_s - started_s, out, "simulation.progress")
    _tell(outcomes, time.perf_counter() - started_s, out, "simulation.green")
    if seed is not None:
        out.write(t("simulation.digest", digest=outcomes[-1].digest) + "\n")
    return EXIT_GREEN


def _tell(outcomes: list[Outcome], passed_s: float, out: TextIO, key: str) -> None:
    virtual_s = sum(outcome.virtual_ms for outcome in outcomes) / 1000
    out.write(
        t(
            key,
            worlds=len(outcomes),
            tasks=sum(outcome.tasks for outcome in outcomes),
            grants=sum(outcome.grants for outcome in outcomes),
            per_s=f"{len(outcomes) / max(passed_s, 0.001):.1f}",
            speed=f"{virtual_s / max(passed_s, 0.001):.0f}",
        )
        + "\n"
    )
    out.flush()


def _tell_failure(outcome: Outcome, out: TextIO, mutant: str) -> None:
    out.write(t("simulation.broken", seed=outcome.seed, what=str(outcome.violation)) + "\n")
    for step in outcome.story:
        out.write(f"  {step}\n")
    replay = f"--seed {outcome.seed}" + (f" --mutant {mutant}" if mutant else "")
    out.write(t("simulation.replay", seed=outcome.seed, arguments=replay, digest=outcome.digest) + "\n")
    out.flush()
