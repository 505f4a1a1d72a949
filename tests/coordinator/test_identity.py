"""Starts of one daemon on values: which beat makes a boot current."""

from __future__ import annotations

import pytest

from understudy.coordinator.identity import arrive
from understudy.coordinator.nouns import Daemon, Now

NOW = Now(1_770_000_000_000, 1_770_000_000_000)
FIRST, SECOND = "boot-01KGE3HEAQ0PFXHHH5MSPKA4JE", "boot-01KGE3HEAQ0PFXHHH5MSPKA4JF"


def test_a_late_beat_of_a_start_that_never_became_current_does_not_supersede_a_later_one() -> None:
    daemon = Daemon("mini", machine_id="m", boot_id=SECOND)
    assert arrive(daemon, "m", FIRST, frozenset(), NOW).refused == "superseded"


def test_a_later_start_becomes_current() -> None:
    daemon = Daemon("mini", machine_id="m", boot_id=FIRST)
    arrival = arrive(daemon, "m", SECOND, frozenset(), NOW)
    assert (arrival.refused, arrival.is_new_boot) == ("", True)


@pytest.mark.parametrize("boot_id", ["boot-1", "b7c0e1f2-0000-4000-8000-000000000000"])
def test_boots_that_somebody_else_names_have_no_order(boot_id: str) -> None:
    daemon = Daemon("mini", machine_id="m", boot_id=SECOND)
    assert arrive(daemon, "m", boot_id, frozenset(), NOW).is_new_boot
