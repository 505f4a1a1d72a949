"""Hearing time on values: what is a gap, what is not, and that the count never goes back."""

from __future__ import annotations

import pytest

from understudy.coordinator.hearing import (
    GAP_MIN_MS,
    WRITE_EVERY_MS,
    awake,
    hear,
    promised,
    promised_anew,
    suspected,
)
from understudy.coordinator.nouns import Hearing, Now
from understudy.hub.alarm_loop import LISTEN_EVERY_MS

T0 = 1_770_000_000_000


def test_a_hub_that_listens_each_second_never_makes_a_gap_of_its_own() -> None:
    lateness_ms = 400
    assert WRITE_EVERY_MS - 1 + LISTEN_EVERY_MS + lateness_ms <= GAP_MIN_MS
    hearing, _, gap = hear(Hearing(heard_at=T0, idle=0), T0 + WRITE_EVERY_MS - 1)  # a request: nothing is written
    assert gap is None
    _, _, gap = hear(hearing, T0 + WRITE_EVERY_MS - 1 + LISTEN_EVERY_MS + lateness_ms)
    assert gap is None


@pytest.mark.parametrize("jump_ms", [-3_600_000, -1_000, 600_000])
def test_the_count_of_an_idle_hub_does_not_go_back_when_its_wall_clock_does(jump_ms: int) -> None:
    hearing, before, _ = hear(Hearing(heard_at=T0, gaps_ms=5_000), T0 + 10_000)
    hearing, after, _ = hear(hearing, T0 + 10_000 + jump_ms)
    assert after.h >= before.h
    hearing = awake(hearing, after)
    _, later, _ = hear(hearing, T0 + 11_000 + jump_ms)
    assert later.h == after.h + 1_000


@pytest.mark.parametrize("late_ms", [-30_000, 0, GAP_MIN_MS])
def test_a_hub_that_sleeps_on_purpose_is_not_missed_until_its_promise(late_ms: int) -> None:
    asleep = Hearing(heard_at=T0, gaps_ms=500, idle=0, promised_at=T0 + 60_000)
    hearing, now, gap = hear(asleep, T0 + 60_000 + late_ms)
    assert gap is None
    assert now.h == T0 + 60_000 + late_ms - 500
    assert hearing.heard_at == T0 + 60_000 + late_ms


def test_a_promise_that_was_not_kept_is_a_gap_since_the_hub_was_last_heard() -> None:
    asleep = Hearing(heard_at=T0, gaps_ms=500, idle=0, promised_at=T0 + 60_000)
    hearing, now, gap = hear(asleep, T0 + 60_000 + GAP_MIN_MS + 1)
    assert gap is not None
    assert now.h == now.resumed_h == T0 - 500
    assert hearing.gaps_ms == 500 + 60_000 + GAP_MIN_MS + 1


def test_a_wall_clock_that_is_set_back_breaks_no_promise_and_the_count_stands() -> None:
    asleep = Hearing(heard_at=T0, idle=0, promised_at=T0 + 60_000)
    _, now, gap = hear(asleep, T0 - 10_000)
    assert gap is not None
    assert now.h == T0


def test_a_promise_is_only_ever_made_nearer_unless_the_alarm_makes_it_anew() -> None:
    now = Now(T0, T0)
    made = promised(Hearing(), now, 60_000)
    assert made.promised_at == T0 + 60_000
    nearer = promised(made, now, 10_000)
    assert nearer.promised_at == T0 + 10_000
    assert promised(nearer, now, 60_000) is nearer
    assert promised_anew(nearer, now, 60_000).noun.promised_at == T0 + 60_000
    later = Now(T0 + 10_000, T0 + 10_000)
    assert promised(nearer, later, 60_000).promised_at == T0 + 70_000


@pytest.mark.parametrize(("silent", "since_ms", "is_told"), [(2, 0, False), (3, 0, True), (3, 599_999, False)])
def test_three_that_fall_silent_together_are_an_event_once_in_ten_minutes(silent, since_ms, is_told):
    now = Now(1_770_000_000_000, 1_770_000_000_000)
    hearing = Hearing(suspect_h=now.h - since_ms if since_ms else 0)
    change = suspected(hearing, silent, now)
    assert (change is not None) == is_told
    assert change is None or (change.noun.suspect_h, change.events[0].fields) == (now.h, {"daemons": silent})
