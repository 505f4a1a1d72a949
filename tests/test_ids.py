"""Ids sort by time, and by order of making where that is asked for."""

from __future__ import annotations

from understudy.clock import ManualClock
from understudy.ids import IdMaker


def test_an_id_made_after_another_sorts_after_it_though_the_clock_was_set_back():
    clock = ManualClock()
    ids = IdMaker(clock)
    last = ids.new_after("boot", "")
    for _ in range(5):
        clock.jump(-3_600_000)
        made = ids.new_after("boot", last)
        assert made > last
        assert len(made) == len(last)
        last = made


def test_an_unreadable_last_id_is_no_reason_not_to_start():
    ids = IdMaker(ManualClock())
    assert ids.new_after("boot", "zzz: not an id").startswith("boot-0")
