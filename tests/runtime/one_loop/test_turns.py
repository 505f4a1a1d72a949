"""Loops on one event loop: a step when it is due or woken, its effects, its failures, and what the bell is told."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from understudy.clock import ManualClock
from understudy.coordinator.nouns import Notice
from understudy.errors import StoreError
from understudy.hub.operation import Operation
from understudy.hub.outbox import SettleNotice
from understudy.hub.starts import RecordHearing
from understudy.hub.steps import Beside, Read, Sleep, Steps
from understudy.notify.base import Sent
from understudy.runtime.one_loop.turns import GUARD_MS, Turn, Turns
from understudy.runtime.stepper import RETRY_MS_FIRST
from understudy.wire.outbound import HttpAnswer, HttpRequest, OutboundAnswer, OutboundRequest

PING = HttpRequest("GET", "http://x/")
LAST_WORD = SettleNotice(Notice("n1", "ops", "notice", "daemon.down"), Sent("ref"))


class World:
    """A hub, a host and a clock that note what they were asked; a server that answers when it is told to."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.asked: list[Any] = []
        self.bells: list[int] = []
        self.trouble: Exception | None = None
        self.troubles: list[Exception] = []
        self.answer: asyncio.Future[OutboundAnswer] = asyncio.get_running_loop().create_future()
        self.turns = Turns(self, self.clock, self)

    async def decide(self, operation: Operation) -> Any:
        self.asked.append(operation)
        if self.trouble is not None:
            raise self.trouble
        return "decided"

    def read(self, effect: Read) -> Any:
        shown: Any = "the reader"
        return effect.show(shown)

    async def send(self, request: OutboundRequest) -> OutboundAnswer:
        self.asked.append(request)
        return await asyncio.shield(self.answer)

    async def sleep(self, ms: int) -> None:
        self.asked.append(ms)

    def set_bell(self, ms: int) -> None:
        self.bells.append(ms)

    def add(self, step: Callable[[], Steps]) -> Turn:
        return self.turns.add(Turn("loop", step, self.troubles.append))

    async def ring(self, ms: int = 0) -> None:
        """Time passes, the bell rings, and whatever can go on does."""
        self.clock.advance(ms)
        self.turns.ring()
        await settled()


async def settled() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


def on_a_loop(test: Callable[[World], Awaitable[None]]) -> Callable[[], None]:
    """A test that runs on an event loop of its own."""

    async def run() -> None:
        await test(World())

    def ordinary() -> None:
        asyncio.run(run())

    ordinary.__name__ = test.__name__
    return ordinary


@on_a_loop
async def test_each_effect_is_answered_and_the_bell_is_told_what_the_steps_return(world: World) -> None:
    answers: list[Any] = []
    world.answer.set_result(HttpAnswer(204))

    def step() -> Steps:
        answers.extend([(yield RecordHearing()), (yield Read(lambda reader: reader)), (yield PING), (yield Sleep(3))])
        return 7_000

    world.add(step)
    await world.ring()
    assert answers == ["decided", "the reader", HttpAnswer(204), None]
    await world.ring(6_999)
    assert len(answers) == 4
    assert world.bells[-1] == 1
    await world.ring(1)
    assert len(answers) == 8


@on_a_loop
async def test_what_an_effect_raises_is_raised_in_the_steps(world: World) -> None:
    world.trouble = StoreError("full")
    seen: list[str] = []

    def step() -> Steps:
        with pytest.raises(StoreError):
            yield RecordHearing()
        seen.append("went on")
        return 7_000

    world.add(step)
    await world.ring()
    assert seen == ["went on"]
    assert not world.troubles


@on_a_loop
async def test_a_step_that_fails_is_reported_and_made_again_later_and_the_others_go_on(world: World) -> None:
    made: list[str] = []

    def broken() -> Steps:
        made.append("broken")
        if len(made) < 4:
            raise StoreError("full")
        yield RecordHearing()
        return 60_000

    def well() -> Steps:
        made.append("well")
        yield RecordHearing()
        return 60_000

    world.add(broken)
    world.add(well)
    await world.ring()
    assert made == ["broken", "well"]
    assert len(world.troubles) == 1
    assert 0 < world.bells[-1] <= RETRY_MS_FIRST
    await world.ring(RETRY_MS_FIRST)
    assert made == ["broken", "well", "broken"]


@on_a_loop
async def test_a_loop_that_is_woken_during_its_step_makes_another_and_never_two_at_once(world: World) -> None:
    under_way: list[int] = []

    def step() -> Steps:
        under_way.append(1)
        assert sum(under_way) == 1
        yield PING
        under_way.append(-1)
        return 60_000

    turn = world.add(step)
    await world.ring()
    world.turns.wake(turn)
    world.turns.ring()
    await settled()
    assert under_way == [1]
    world.answer.set_result(HttpAnswer(204))
    await settled()
    assert under_way == [1, -1, 1, -1]
    world.turns.wake(turn)
    await settled()
    assert under_way == [1, -1] * 3


@on_a_loop
async def test_a_next_step_that_is_very_near_is_waited_for_without_a_bell_for_each(world: World) -> None:
    pauses = iter([20] * 25 + [60_000])

    def step() -> Steps:
        yield RecordHearing()
        return next(pauses)

    world.add(step)
    await world.ring()
    for _ in range(10):
        await settled()
    assert world.asked.count(20) == 25
    assert world.bells == [GUARD_MS]  # for a host that forgets all in between; it rings once too often


@on_a_loop
async def test_a_step_that_waits_for_another_server_holds_up_no_other_and_keeps_the_host_near(world: World) -> None:
    made: list[str] = []

    def slow() -> Steps:
        yield PING
        return 60_000

    def quick() -> Steps:
        made.append("quick")
        yield RecordHearing()
        return 20_000

    world.add(slow)
    world.add(quick)
    await world.ring()
    assert made == ["quick"]
    assert world.bells[-1] == GUARD_MS
    for _ in range(4):
        await world.ring(GUARD_MS)
        assert world.bells[-1] == GUARD_MS
    assert made == ["quick", "quick"]
    world.answer.set_result(HttpAnswer(204))
    await settled()
    await world.ring(GUARD_MS)
    assert world.bells[-1] == 20_000 - GUARD_MS


@on_a_loop
async def test_other_steps_run_beside_and_wake_the_loop_when_they_end(world: World) -> None:
    made: list[str] = []

    def beside() -> Steps:
        yield PING
        made.append("beside")
        return 0

    def step() -> Steps:
        made.append("step")
        if len(made) == 1:
            assert (yield Beside("call", beside())) == ""
        return 60_000

    world.add(step)
    await world.ring()
    assert made == ["step"]
    world.answer.set_result(HttpAnswer(204))
    await settled()
    assert made == ["step", "beside", "step"]


@on_a_loop
async def test_once_it_is_over_only_last_words_are_said(world: World) -> None:
    ended: list[str] = []

    def step() -> Steps:
        try:
            yield PING
            yield LAST_WORD
            yield RecordHearing()
        finally:
            ended.append("closed")
        return 0

    turn = world.add(step)
    await world.ring()
    stopping = asyncio.ensure_future(world.turns.stop(60))
    await settled()
    world.answer.set_result(HttpAnswer(204))
    await stopping
    assert world.asked == [PING, LAST_WORD]
    assert ended == ["closed"]
    world.turns.wake(turn)
    await world.ring(60_000)
    assert world.asked == [PING, LAST_WORD]


@on_a_loop
async def test_what_does_not_end_in_time_is_cut(world: World) -> None:
    def step() -> Steps:
        yield PING
        yield LAST_WORD
        return 0

    world.add(step)
    await world.ring()
    await world.turns.stop(0)
    world.answer.set_result(HttpAnswer(204))
    await settled()
    assert world.asked == [PING]


@on_a_loop
async def test_a_loop_that_is_woken_during_its_step_needs_no_bell_before_that_has_ended(world: World) -> None:
    def step() -> Steps:
        yield PING
        return 60_000

    turn = world.add(step)
    await world.ring()
    world.turns.wake(turn)
    for _ in range(3):
        await world.ring()
    assert set(world.bells) == {GUARD_MS}
