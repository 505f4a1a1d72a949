"""The hub is killed under load: whatever it acknowledged is there after the next start."""

from __future__ import annotations

import random
import time
from itertools import count
from pathlib import Path

import pytest

from bench.processes import HERE
from tests.soak.prepared_hub import PreparedHub as Hub
from tests.soak.witness import Crowd, Promises, broken_promises
from tests.waiting import eventually

EARLY = Path(__file__).with_name("early_hub.py")
HONEST = HERE / "hub_server.py"
LONG_LEASES = {"lease_ms": 600_000}  # a lease that ends by itself is no broken promise
IN_THE_PAUSE_S = 0.25  # long enough for answers that leave too early to arrive


def kill_at_random_moments(folder: Path, kills: int, seed: int = 1) -> int:
    """Kill a hub under load so many times; how many acknowledgements were checked."""
    rng = random.Random(seed)
    promises, names = Promises(), count(1)
    hub = Hub(folder, policy=LONG_LEASES)
    with hub:
        for life in range(kills):
            known = promises.acknowledged
            crowd = Crowd(hub, promises, life, names)
            eventually(lambda: promises.acknowledged > known + 20, within_s=30, what="load")  # noqa: B023
            time.sleep(rng.uniform(0, 0.5))
            hub.kill()
            assert crowd.end() == []
            hub.start()
            assert broken_promises(hub, promises) == [], f"after kill {life + 1}"
            promises.forget()
    return promises.acknowledged


def kill_in_the_pause(folder: Path, kills: int, script: Path = HONEST) -> tuple[int, list[str]]:
    """Kill a hub that waits before COMMIT; how many acknowledgements were checked, and which were broken."""
    fail_point = folder / "pause-before-commit"
    promises, names = Promises(), count(1)
    broken: list[str] = []
    hub = Hub(folder / "hub", script=script, fail_point_file=str(fail_point), policy=LONG_LEASES)
    with hub:
        for life in range(kills):
            known = promises.acknowledged
            crowd = Crowd(hub, promises, life, names)
            eventually(lambda: promises.acknowledged > known + 20, within_s=30, what="load")  # noqa: B023
            fail_point.touch()
            time.sleep(IN_THE_PAUSE_S)
            hub.kill()
            assert crowd.end() == []
            fail_point.unlink()
            hub.start()
            broken += broken_promises(hub, promises)
            promises.forget()
    return promises.acknowledged, broken


def test_5_kills_lose_nothing_that_was_acknowledged(tmp_path):
    assert kill_at_random_moments(tmp_path, 5) > 100


def test_a_kill_before_commit_loses_nothing_that_was_acknowledged(tmp_path):
    checked, broken = kill_in_the_pause(tmp_path, 2)
    assert broken == []
    assert checked > 40


def test_a_hub_that_answers_before_it_commits_is_caught(tmp_path):
    """A kill shows nothing where the batch in the pause is one of the hub's own, without answers: then once more."""
    tries = (kill_in_the_pause(tmp_path / str(n), 1, EARLY)[1] for n in range(8))
    assert any(tries), "the checker did not see the planted bug"


@pytest.mark.soak
def test_200_kills_lose_nothing_that_was_acknowledged(tmp_path, report):
    checked = kill_at_random_moments(tmp_path, 200, seed=random.randrange(1 << 30))
    report(f"200 kills at random moments under load: {checked:,} acknowledgements checked, none broken")


@pytest.mark.soak
def test_50_kills_before_commit_lose_nothing_that_was_acknowledged(tmp_path, report):
    checked, broken = kill_in_the_pause(tmp_path, 50)
    assert broken == []
    report(f"50 kills in a pause before COMMIT: {checked:,} acknowledgements checked, none broken")


@pytest.mark.soak
def test_a_hub_that_answers_before_it_commits_is_caught_by_most_kills(tmp_path, report):
    lost = [len(kill_in_the_pause(tmp_path / str(n), 1, EARLY)[1]) for n in range(10)]
    caught = sum(bool(broken) for broken in lost)
    assert caught >= 7
    report(f"planted bug (answers before COMMIT): seen after {caught} of 10 kills, {sum(lost)} promises broken")
