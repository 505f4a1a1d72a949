"""Timelines on values: periods, the hub's gaps among them, and the bar that is drawn of both."""

from __future__ import annotations

import pytest

from understudy.coordinator.nouns import Daemon, Hearing, Now, Period
from understudy.coordinator.timeline import HUB, UNKNOWN, bar, gap_period, timeline


def daemon(state: str, since_at: int) -> Daemon:
    return Daemon("d", state=state, since_at=since_at, first_seen_at=1)


def period(state: str, from_at: int, to_at: int) -> Period:
    return Period("d", from_at, state, to_at)


def gap(from_at: int, to_at: int) -> Period:
    return Period(HUB, from_at, UNKNOWN, to_at)


def shown(periods: list[Period]) -> list[tuple[str, int, int]]:
    return [(one.state, one.from_at, one.to_at) for one in periods]


def test_periods_follow_each_other_up_to_now_and_begin_where_the_view_does() -> None:
    ended = [period("late", 300, 400), period("healthy", 0, 300)]
    found = timeline(daemon("down", 400), ended, [], 100, 500)
    assert shown(found) == [("healthy", 100, 300), ("late", 300, 400), ("down", 400, 500)]


def test_a_gap_is_unknown_in_whatever_it_fell() -> None:
    ended = [period("healthy", 0, 300)]
    found = timeline(daemon("late", 300), ended, [gap(50, 120), gap(200, 210), gap(290, 350)], 100, 500)
    assert shown(found) == [
        ("unknown", 100, 120), ("healthy", 120, 200), ("unknown", 200, 210), ("healthy", 210, 290),
        ("unknown", 290, 350), ("late", 350, 500),
    ]  # fmt: skip


@pytest.mark.parametrize("gaps", [[gap(0, 999)], [gap(100, 300), gap(200, 500)], [gap(90, 500), gap(95, 480)]])
def test_gaps_that_cover_all_leave_one_period(gaps: list[Period]) -> None:
    assert shown(timeline(daemon("healthy", 1), [], gaps, 100, 500)) == [("unknown", 100, 500)]


def test_before_its_first_word_a_daemon_has_no_period() -> None:
    assert shown(timeline(Daemon("d", first_seen_at=450), [], [gap(100, 200)], 100, 500)) == [("new", 450, 500)]


def test_periods_that_overlap_after_a_step_of_the_clock_are_cut_where_the_next_begins() -> None:
    ended = [period("healthy", 100, 450), period("late", 300, 460)]
    found = timeline(daemon("healthy", 400), ended, [], 100, 500)
    assert shown(found) == [("healthy", 100, 300), ("late", 300, 400), ("healthy", 400, 500)]


def test_periods_of_a_clock_that_was_set_back_since_end_where_the_present_one_begins() -> None:
    ended = [period("healthy", 100, 440), period("late", 440, 450), period("asleep", 450, 290)]
    found = timeline(daemon("down", 300), ended, [], 100, 500)
    assert shown(found) == [("healthy", 100, 300), ("down", 300, 500)]


def test_a_clock_that_was_only_set_back_leaves_no_period() -> None:
    before = Hearing(heard_at=1_000, idle=0)
    assert gap_period(before, Now(4_000, 1_000)) == (gap(1_000, 4_000),)
    assert gap_period(before, Now(500, 1_000)) == ()


def test_a_bar_shows_trouble_however_short_and_else_what_lasted_longest() -> None:
    found = [
        period("healthy", 0, 99), period("late", 99, 100), period("down", 100, 101), period("healthy", 101, 230),
        period("unknown", 230, 260), period("asleep", 260, 300), period("healthy", 300, 400),
    ]  # fmt: skip
    assert bar(found, 0, 400, 4) == ["late", "down", "asleep", "healthy"]


def test_a_bar_is_empty_before_the_first_period_and_ends_at_the_last_part() -> None:
    assert bar([period("healthy", 150, 400)], 0, 400, 4) == ["", "healthy", "healthy", "healthy"]
    assert bar([], 0, 400, 3) == ["", "", ""]
    assert bar([period("down", 0, 400)], 0, 400, 7) == ["down"] * 7
