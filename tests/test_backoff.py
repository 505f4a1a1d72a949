"""Pauses before the next try: doubled, bounded, spread."""

from __future__ import annotations

from understudy.backoff import Backoff, dice_of, doubled_ms, spread


def test_pauses_double_up_to_the_longest_and_start_small_after_a_success():
    backoff = Backoff(100, 1_000, lambda: 0.999999)
    assert [backoff.next_ms() for _ in range(6)] == [99, 199, 399, 799, 999, 999]
    backoff.reset()
    assert backoff.next_ms() == 99


def test_a_pause_is_at_least_half_of_the_whole_and_never_nothing():
    assert Backoff(100, 1_000, lambda: 0.0).next_ms() == 50
    assert Backoff(1, 1, lambda: 0.0).next_ms() == 1


def test_however_often_it_failed_the_longest_pause_is_the_longest():
    assert [doubled_ms(1_000, 60_000, times) for times in (-3, 0, 1, 6, 10**9)] == [1_000, 1_000, 2_000, 60_000, 60_000]


def test_the_spread_lies_between_its_ends_and_dice_fall_the_same_for_the_same_key():
    thrown = [dice_of(f"task-{n}/1") for n in range(1000)]
    assert 0 <= min(thrown) < 0.01
    assert 0.99 < max(thrown) <= 1
    assert dice_of("task-1/1") == thrown[1]
    assert (spread(100, 0, 0.8, 1.2), spread(100, 1, 0.8, 1.2)) == (80, 120)
