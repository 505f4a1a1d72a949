"""The second driver keeps the rules of the first: signals, freezing, killing, breaking."""

from __future__ import annotations

import pytest

from understudy.simulation.loops import Loops
from understudy.simulation.world import ViolationError, World
from understudy.worker.effects import Fork, Wait, WriteLog
from understudy.worker.state import Signals


def played(world, *loops):
    signals = Signals()
    driver = Loops(world, "mini", signals, lambda *_: None)
    for loop in loops:
        driver.start("loop", loop)
    return driver


def test_a_signal_ends_a_wait_and_its_end_in_time_does_not():
    world, heard = World(1), []

    def loop():
        heard.append((yield Wait("a", 1_000)))
        heard.append((yield Wait("a", 1_000)))

    driver = played(world, loop)
    world.at(500, lambda: driver.raise_signal("a"))
    world.run_until(5_000)
    assert heard == [True, False]


def test_a_signal_raised_before_the_wait_counts():
    world, heard = World(1), []

    def loop():
        yield WriteLog("info", "x", "before")
        heard.append((yield Wait("a", 60_000)))

    driver = Loops(world, "mini", Signals(), lambda *_: driver.raise_signal("a"))
    driver.start("loop", loop)
    world.run_until(100)
    assert heard == [True]


def test_frozen_loops_do_nothing_and_then_everything():
    world, steps = World(1), []

    def loop():
        while True:
            yield Wait("a", 1_000)
            steps.append(world.now_ms)

    driver = played(world, loop)
    world.at(1_500, lambda: driver.hold(frozen=True))
    world.at(60_000, lambda: driver.hold(frozen=False))
    world.run_until(60_900)
    assert len(steps) == 2
    assert steps[0] == 1_000
    assert steps[1] >= 60_000


def test_killed_loops_make_no_step_more():
    world, steps = World(1), []

    def child():
        yield Wait("b", 10)
        steps.append("child")

    def loop():
        yield Fork("child", child)
        yield Wait("a", 10)
        steps.append("loop")

    played(world, loop).kill()
    world.run_until(1_000)
    assert steps == []


def test_a_loop_that_breaks_is_a_violation():
    def loop():
        yield Wait("a", 1)
        raise RuntimeError("a defect")

    world = World(1)
    played(world, loop)
    with pytest.raises(ViolationError, match="a defect"):
        world.run_until(1_000)
