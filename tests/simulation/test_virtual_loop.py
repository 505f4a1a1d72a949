"""The event loop of virtual time: a wait comes to its end, however short it is."""

from __future__ import annotations

from math import nextafter

from understudy.simulation.virtual_loop import VirtualLoop
from understudy.simulation.world import World


def test_a_time_that_is_later_by_less_than_a_millisecond_comes_with_the_next_one() -> None:
    world, called = World(1), []
    loop = VirtualLoop(world, lambda step: step)
    world.run_until(33_471)
    loop.call_at(nextafter(33.471, 34), called.append, "later")
    loop.call_at(33.471, called.append, "now")
    world.run_until(33_471)
    loop.turn()
    assert called == ["now"]
    world.run_until(33_472)
    loop.turn()
    assert called == ["now", "later"]
