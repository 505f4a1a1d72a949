"""Ids sort by time, and by order of making where that is asked for."""

from __future__ import annotations

from understudy.clock import ManualClock
from understudy.ids import IdMaker, time_of


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


def test_ids_of_one_millisecond_sort_in_the_order_in_which_they_were_made():
    ids = IdMaker(ManualClock())
    made = [ids.new("task") for _ in range(1_000)]
    assert made == sorted(set(made))


def test_a_millisecond_that_begins_with_the_greatest_bits_has_room_for_more():
    ids = IdMaker(ManualClock(), lambda bits: (1 << bits) - 1)
    made = [ids.new("task") for _ in range(1_000)]
    assert made == sorted(set(made))
    assert {len(one) for one in made} == {len("task-") + 26}


def test_the_instant_of_an_id_is_read_and_of_other_texts_there_is_none():
    made = IdMaker(ManualClock(1_800_000_000_123)).new("form")
    assert time_of(made, "form") == 1_800_000_000_123
    spoilt = (made[:-1], f"{made}0", made.lower(), made.replace("form", "key"), f"form-{made}", "form-" + "é" * 26)
    assert [text for text in ("", "form-", *spoilt) if time_of(text, "form")] == []
