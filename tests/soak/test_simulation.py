"""A thousand worlds hold, and every mutant that is known is found."""

from __future__ import annotations

import pytest

from understudy.simulation.campaign import play_planted
from understudy.simulation.mutants import ABOUT_HUBS, ABOUT_SLEEP, MUTANTS
from understudy.simulation.scenario import play

pytestmark = pytest.mark.soak

SEEDS = 1_000
HUNT_SEEDS = 1_000


@pytest.mark.parametrize("first", range(1, SEEDS + 1, 100))
def test_no_invariant_breaks(first):
    for seed in range(first, first + 100):
        outcome = play(seed)
        assert outcome.violation is None, f"world {seed}: {outcome.violation}\n" + "\n".join(outcome.story)


@pytest.mark.parametrize("first", range(1, SEEDS + 1, 100))
def test_no_invariant_breaks_with_two_hubs_on_one_store(first):
    for seed in range(first, first + 100):
        outcome = play(seed, hubs=2, takeover=seed % 3 == 0)
        assert outcome.violation is None, f"world {seed}: {outcome.violation}\n" + "\n".join(outcome.story)


@pytest.mark.parametrize("first", range(1, SEEDS + 1, 100))
def test_no_invariant_breaks_with_a_hub_that_is_put_to_sleep(first):
    for seed in range(first, first + 100):
        outcome = play(seed, sleeps=True, takeover=seed % 3 == 0)
        assert outcome.violation is None, f"world {seed}: {outcome.violation}\n" + "\n".join(outcome.story)


@pytest.mark.parametrize("mutant", sorted(ABOUT_SLEEP))
def test_a_planted_bug_is_found_in_a_hub_that_is_put_to_sleep(mutant, report):
    for seed in range(1, HUNT_SEEDS + 1):
        outcome = play_planted(mutant, seed)
        if outcome.violation is not None:
            report(f"found in world {seed}: {outcome.violation}")
            return
    pytest.fail(f"{mutant} survived {HUNT_SEEDS} worlds")


@pytest.mark.parametrize("hubs", [1, 2])
@pytest.mark.parametrize("mutant", [name for name in MUTANTS if name not in ABOUT_SLEEP])
def test_a_planted_bug_is_found(mutant, hubs, report):
    if mutant in ABOUT_HUBS and hubs == 1:
        pytest.skip("one hub cannot show it")
    for seed in range(1, HUNT_SEEDS + 1):
        outcome = play_planted(mutant, seed, hubs)
        if outcome.violation is not None:
            report(f"found in world {seed}: {outcome.violation}")
            return
    pytest.fail(f"{mutant} survived {HUNT_SEEDS} worlds")
