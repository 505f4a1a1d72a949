"""What owners and the alarm do with tasks, on values."""

from __future__ import annotations

from typing import Any

import pytest

from understudy.coordinator import tasks
from understudy.coordinator.nouns import DONE, LEASED, Now, Task

NOW = Now(1_770_000_000_000, 1_770_000_000_000)


@pytest.mark.parametrize(
    ("fields", "is_due"),
    [
        ({"available_at": NOW.wall}, True),
        ({"available_at": NOW.wall + 1}, False),
        ({"ready": 1}, False),
        ({"waiting_for": "mini"}, False),
        ({"status": LEASED}, False),
        ({"status": DONE}, False),
    ],
)
def test_a_delayed_task_is_claimable_from_its_instant_on(fields: dict[str, Any], is_due: bool) -> None:
    change = tasks.rung(Task("t", **({"ready": 0} | fields)), NOW)
    assert (change is not None) == is_due
    assert change is None or change.noun.ready


def test_a_task_that_is_set_aside_comes_back_by_itself() -> None:
    aside = tasks.set_aside(Task("t"), NOW).noun
    assert (aside.ready, tasks.rung(aside, NOW)) == (0, None)
    later = Now(NOW.wall + tasks.SET_ASIDE_MS, NOW.h)
    change = tasks.rung(aside, later)
    assert change is not None
    assert change.noun.ready


@pytest.mark.parametrize(
    ("body_hash", "only_of", "is_same"), [("h", "", True), ("h2", "", False), ("h", "ada", True), ("h", "bob", False)]
)
def test_the_same_body_is_a_repetition_for_whoever_may_know_of_it(body_hash: str, only_of: str, is_same: bool) -> None:
    assert tasks.is_same(Task("t", body_hash="h", submitter="ada"), body_hash, only_of) == is_same
