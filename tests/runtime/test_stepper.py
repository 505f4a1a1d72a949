"""A thread that steps: woken, stopped, never ended by an error. Its waiting is looked at, not waited for."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from tests.waiting import eventually
from understudy.clock import ManualClock
from understudy.runtime.stepper import RETRY_MS_FIRST, RETRY_MS_MAX, Stepper

LONG_MS = 3_600_000


def stepper_of(step: Callable[[], int], troubles: list[Exception] | None = None) -> Stepper:
    return Stepper("steps", step, ManualClock(), (troubles if troubles is not None else []).append)


def test_it_steps_at_once_when_a_step_says_so_and_sleeps_until_it_is_woken() -> None:
    pauses, steps = iter([0, 0, LONG_MS, LONG_MS]), []

    def step() -> int:
        steps.append(1)
        return next(pauses)

    stepper = stepper_of(step)
    stepper.start()
    eventually(lambda: len(steps) == 3, what="three steps")
    stepper.wake()
    eventually(lambda: len(steps) == 4, what="the step after the waking")
    stepper.stop()
    stepper.join(60)
    assert len(steps) == 4
    assert not stepper._thread.is_alive()


def test_what_wakes_it_during_a_step_is_not_overslept() -> None:
    steps = []

    def step() -> int:
        steps.append(1)
        if len(steps) == 1:
            stepper.wake()
        return LONG_MS

    stepper = stepper_of(step)
    stepper.start()
    eventually(lambda: len(steps) == 2, what="a second step")
    stepper.stop()
    stepper.join(60)


def test_a_step_that_fails_is_told_and_made_again_after_a_while_that_grows_to_a_bound(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    troubles: list[Exception] = []
    slept: list[int] = []
    outcomes = iter([True] * 6 + [False, True])

    def step() -> int:
        if next(outcomes):
            raise ZeroDivisionError
        return 5

    stepper = stepper_of(step, troubles)
    monkeypatch.setattr(stepper, "sleep", slept.append)
    assert [stepper.safe_step() for _ in range(8)] == [0] * 6 + [5, 0]
    assert len(troubles) == 7
    assert all(RETRY_MS_FIRST / 2 <= ms <= RETRY_MS_MAX for ms in slept)
    assert slept[0] <= RETRY_MS_FIRST <= slept[5] * 2
    assert slept[6] <= RETRY_MS_FIRST  # after a step that worked it begins anew


def test_a_stop_between_two_steps_is_not_overslept() -> None:
    """It came just when the thread had looked whether it is over, and forgot then who had woken it."""
    steps = []
    stepper = stepper_of(lambda: steps.append(1) or LONG_MS)

    class StopsFirst(threading.Event):
        def clear(self) -> None:
            stepper.stop()
            super().clear()

    stepper._woken = StopsFirst()
    stepper.start()
    stepper.join(60)
    assert not stepper._thread.is_alive()
    assert steps == []


def test_what_fails_because_it_is_stopped_is_not_told() -> None:
    troubles: list[Exception] = []

    def step() -> int:
        stepper.stop()
        raise ZeroDivisionError

    stepper = stepper_of(step, troubles)
    assert stepper.safe_step() == 0
    assert troubles == []


def test_it_is_not_waited_for_longer_than_asked() -> None:
    gate = threading.Event()
    stepper = stepper_of(lambda: gate.wait() or 0)
    stepper.start()
    stepper.stop()
    stepper.join(0.01)  # short: it does not end
    assert stepper._thread.is_alive()
    gate.set()
    stepper.join(60)


def test_it_goes_on_even_if_each_step_fails_and_shows_when_one_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a supervisor is told: a full disk is no reason to start a hub anew, a loop that hangs is."""
    clock = ManualClock()
    stepper = Stepper("steps", lambda: 1 // 0, clock, lambda _: None)
    monkeypatch.setattr(stepper, "sleep", lambda _: None)
    for _ in range(5):
        clock.advance(60_000)
        stepper.safe_step()
        assert stepper.since_step_ms() == 0
    clock.advance(1)
    assert stepper.since_step_ms() == 1
