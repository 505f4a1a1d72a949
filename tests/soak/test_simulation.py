"""A thousand worlds hold, and every mutant that is known is found."""

from __future__ import annotations

import pytest

from understudy.simulation.campaign import play_planted
from understudy.simulation.mutants import MUTANTS
from understudy.simulation.scenario import play

pytestmark = pytest.mark.soak

SEEDS = 1_000
HUNT_SEEDS = 600


@pytest.mark.parametrize("first", range(1, SEEDS + 1, 100))
def test_no_invariant_breaks(first):
    for seed in range(first, first + 100):
        outcome = play(seed)
        assert outcome.violation is None, f"world {seed}: {outcome.violation}\n" + "\n".join(outcome.story)


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_planted_bug_is_found(mutant, report):
    for seed in range(1, HUNT_SEEDS + 1):
        outcome = play_planted(mutant, seed)
        if outcome.violation is not None:
            report(f"found in world {seed}: {outcome.violation}")
            return
    pytest.fail(f"{mutant} survived {HUNT_SEEDS} worlds")
