"""The hub on one loop in the place of the one on threads: the same tests ask it the same questions."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from tests.api.hubs import Hub
from understudy.clock import Clock
from understudy.config.policy import HubInputs
from understudy.ids import IdMaker
from understudy.log import Log
from understudy.runtime.one_loop.hub import OneLoopHub
from understudy.wire.outbound import NoAnswer, OutboundAnswer, OutboundRequest


class Place:
    """A host whose bell rings when the test moves the clock that far, and whose network nobody answers."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.bell_mono = 0
        self.sleepers: list[tuple[int, asyncio.Future[None]]] = []
        self.asked: list[OutboundRequest] = []
        self.answer: Callable[[Any], OutboundAnswer] = lambda _: NoAnswer("nobody is there", was_sent=False)

    def set_bell(self, ms: int) -> None:
        self.bell_mono = self._clock.mono_ms() + ms

    async def send(self, request: OutboundRequest) -> OutboundAnswer:
        self.asked.append(request)
        return self.answer(request)

    async def sleep(self, ms: int) -> None:
        sleeper = asyncio.get_running_loop().create_future()
        self.sleepers.append((self._clock.mono_ms() + ms, sleeper))
        await sleeper

    def wake(self) -> None:
        """Those whose time has come go on."""
        now = self._clock.mono_ms()
        for sleeper in (sleeper for until, sleeper in self.sleepers if until <= now):
            sleeper.set_result(None)
        self.sleepers = [(until, sleeper) for until, sleeper in self.sleepers if until > now]

    def next_mono(self) -> int:
        """When something happens next."""
        return min([self.bell_mono, *(until for until, _ in self.sleepers)])


class OneLoop(Hub):
    """A hub on one loop, served by the same server on a real socket."""

    given: HubInputs | None = None  # None: those of the tests of the API
    version = "9.9.9"

    def _make_runtime(self, clock: Clock, log: Log, given: HubInputs) -> Any:
        self.place = Place(clock)
        self.one = OneLoopHub(self.store, clock, IdMaker(clock), log, self.version, self.given or given, self.place)
        return self.one

    def _ring(self) -> int:
        """A step of the alarm, as on threads, and whatever else is due now, to its end: ms until the bell rings."""
        self.thread.run(self._rung())
        return self.place.next_mono() - self.clock.mono_ms()

    async def _rung(self) -> None:
        self.place.wake()
        self.one.turns.wake(self.one.alarm_turn)
        self.one.ring()
        while len(self.one.ring()) > len(self.place.sleepers):  # noqa: ASYNC110 - all that can go on does so in a turn
            await asyncio.sleep(0)
