"""Twelve worlds hold (`make sim` plays thousands); a planted bug is found; one seed tells one story."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.project.tree import ROOT
from tests.seeds import SEED
from understudy.errors import ConfigError
from understudy.simulation import mutants, verify
from understudy.simulation.campaign import play_planted
from understudy.simulation.mutants import MUTANTS
from understudy.simulation.scenario import play

WORLDS = 12  # the planted bugs that a world finds soon are found by one of the first eleven
TWO_HUBS = range(1 + 3 * SEED, 4 + 3 * SEED)
SLEEPING = range(1 + SEED, 2 + SEED)
FOUND_ASLEEP = {
    "sleep_is_a_gap": range(1, 11),
    "alarm_stays_where_it_is": range(1, 11),
}
FOUND_WITH_TWO_HUBS = {"others_hear_nothing": range(1, 21), "enqueue_resets": range(2, 31)}
TOGETHER = 4
# In these worlds, beginning with the first that is known to find it.
MUST_BE_FOUND = {"name_for_token": range(11, 61), "lease_end_ignored": range(5, 31), "enqueue_resets": range(1, 31)}


@pytest.mark.parametrize("first", range(1 + WORLDS * SEED, 1 + WORLDS * (SEED + 1), TOGETHER))
def test_no_invariant_breaks(first):
    for seed in range(first, first + TOGETHER):
        outcome = play(seed)
        assert outcome.violation is None, f"world {seed}: {outcome.violation}\n" + "\n".join(outcome.story)


@pytest.mark.parametrize("seed", TWO_HUBS)
def test_no_invariant_breaks_with_two_hubs_on_one_store(seed):
    outcome = play(seed, hubs=2, takeover=seed % 2 == 0)
    assert outcome.violation is None, f"world {seed} of two hubs: {outcome.violation}\n" + "\n".join(outcome.story)


@pytest.mark.parametrize("mutant", FOUND_WITH_TWO_HUBS)
def test_a_planted_bug_is_found_with_two_hubs(mutant):
    outcomes = (play_planted(mutant, seed, 2) for seed in FOUND_WITH_TWO_HUBS[mutant])
    assert any(outcome.violation is not None for outcome in outcomes)


@pytest.mark.parametrize("seed", SLEEPING)
def test_no_invariant_breaks_with_a_hub_that_is_put_to_sleep(seed):
    outcome = play(seed, sleeps=True, takeover=seed % 2 == 0)
    assert outcome.violation is None, f"world {seed} asleep: {outcome.violation}\n" + "\n".join(outcome.story)


@pytest.mark.parametrize("mutant", FOUND_ASLEEP)
def test_a_planted_bug_is_found_in_a_hub_that_is_put_to_sleep(mutant):
    outcomes = (play_planted(mutant, seed) for seed in FOUND_ASLEEP[mutant])
    assert any(outcome.violation is not None for outcome in outcomes)


@pytest.mark.parametrize("mutant", MUST_BE_FOUND)
def test_a_planted_bug_is_found(mutant):
    outcomes = (play_planted(mutant, seed) for seed in MUST_BE_FOUND[mutant])
    assert any(outcome.violation is not None for outcome in outcomes)


def test_the_same_seed_tells_the_same_story_in_any_process():
    hash_seed = "2" if os.environ.get("PYTHONHASHSEED") == "1" else "1"  # another than this process has
    command = [sys.executable, "-m", "understudy.simulation", "--seed", "8"]
    environ = {**os.environ, "PYTHONHASHSEED": hash_seed, "UNDERSTUDY_LANG": "en"}
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60, check=True)
    told = done.stdout.rsplit(maxsplit=1)[-1]
    assert told == play(8).digest
    assert told != play(9).digest


def test_a_failure_names_its_seed_and_invariant_and_tells_the_last_steps():
    out = io.StringIO()
    assert verify(30, None, out, mutant="enqueue_resets") == 1
    head, *steps, replay = _without_progress(out)
    assert len(steps) >= 30
    seed = int(replay.split("--seed ")[1].split()[0])
    assert f"World {seed} " in head
    assert str(play_planted("enqueue_resets", seed).violation) in head
    assert "--mutant enqueue_resets" in replay
    again = io.StringIO()
    assert verify(1, seed, again, mutant="enqueue_resets") == 1
    assert _without_progress(again) == _without_progress(out)


def _without_progress(out):
    """What it told in the end: on a slow machine it also says every few seconds how far it is."""
    return [line for line in out.getvalue().strip().splitlines() if "no problem so far" not in line]


def test_a_mutant_that_nobody_knows_is_refused():
    with pytest.raises(ConfigError, match="lease_cut_short"):
        verify(1, None, io.StringIO(), mutant="nonsense")


def test_no_planted_bug_is_installed_and_the_worlds_are_played_all_the_same(monkeypatch):
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    (left_out,) = settings["tool"]["hatch"]["build"]["targets"]["wheel"]["exclude"]
    assert ROOT / left_out == Path(mutants.__file__).parent
    monkeypatch.setitem(sys.modules, mutants.__name__, None)
    assert verify(1, None, io.StringIO()) == 0
    with pytest.raises(ConfigError, match="clone"):
        verify(1, None, io.StringIO(), mutant="enqueue_resets")


def test_every_mutant_is_taken_out_again():
    def code():
        from understudy.coordinator import budget, hearing, identity, leases, outbox, renewals, takeover
        from understudy.hub import batch, enqueue, results, starts
        from understudy.hub.alarm_loop import Alarm
        from understudy.hub.calls import CutCalls
        from understudy.hub.delivery import Delivery
        from understudy.hub.leases import ReleaseLease, RenewLease
        from understudy.runtime.one_loop.turns import Turns
        from understudy.store.rows import RowQueries
        from understudy.store.takeover import TakeoverQueries
        from understudy.worker.guard_policy import Guard

        owners = [
            budget,
            takeover,
            identity,
            leases,
            renewals,
            batch,
            RowQueries,
            Guard,
            batch.Engine,
            enqueue.EnqueueTasks,
        ]
        owners += [results.ReportResult, RenewLease, ReleaseLease, TakeoverQueries, Alarm, CutCalls]
        owners += [hearing, starts, outbox, Turns, Delivery]
        return [dict(vars(owner)) for owner in owners]

    before = code()
    for plant in MUTANTS.values():
        with plant():
            assert code() != before
        assert code() == before
