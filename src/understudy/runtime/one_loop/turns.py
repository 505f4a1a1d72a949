"""The hub's own loops on one event loop: each makes a step when it is due, when it is woken, or when the bell rings.

Steps of different loops run beside each other: one that waits for the answer of another server holds up no other. Of
one loop there is one step at a time.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Protocol, TypeVar

from understudy.backoff import Backoff
from understudy.clock import Clock
from understudy.hub.operation import Operation
from understudy.hub.steps import Beside, Effect, Performance, Read, Sleep, Steps
from understudy.runtime.stepper import RETRY_MS_FIRST, RETRY_MS_MAX
from understudy.wire.outbound import OutboundAnswer, OutboundRequest

GUARD_MS = 5_000  # while a step waits for others the bell rings at least so often: a host may forget all in between
NEAR_MS = 50  # a next step that is so near is waited for here: setting a bell costs more, and a host may bill for it
NEVER = 1 << 62
T = TypeVar("T")


class Host(Protocol):
    """The place that a hub runs in, as far as it needs it."""

    def set_bell(self, ms: int) -> None:
        """Call `ring` in so many ms; for an earlier instant than the last time, or after a ring."""
        ...

    async def send(self, request: OutboundRequest) -> OutboundAnswer:
        """The answer of another server, or why there is none; raises nothing."""
        ...

    async def sleep(self, ms: int) -> None:
        """Let time pass within a step, however long that is."""
        ...


class Doer(Protocol):
    """The hub as steps use it."""

    async def decide(self, operation: Operation) -> Any:
        """The operation's answer, durable; raises what it was refused with."""
        ...

    def read(self, effect: Read) -> Any:
        """The answer of a look at the store."""
        ...


class Turn:
    """One loop: when its next step is due."""

    def __init__(
        self,
        name: str,
        step: Callable[[], Steps],
        on_trouble: Callable[[Exception], None],
        dice: Callable[[], float] = random.random,
    ) -> None:
        self.name = name
        self.step = step
        self.on_trouble = on_trouble
        self.due_mono = 0
        self.last_step_mono = 0  # when a step last began or ended
        self.is_under_way = False
        self.retry = Backoff(RETRY_MS_FIRST, RETRY_MS_MAX, dice)


class Turns:
    """All loops of one hub; used on the event loop only."""

    def __init__(self, doer: Doer, clock: Clock, host: Host) -> None:
        self._doer = doer
        self._clock = clock
        self._host = host
        self._bell_mono = NEVER
        self._turns: list[Turn] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._sleeps: set[asyncio.Task[None]] = set()
        self._waiting = 0  # steps that wait for another server, or for time to pass
        self.is_over = False

    def add(self, turn: Turn) -> Turn:
        """One more loop, due at once."""
        turn.last_step_mono = self._clock.mono_ms()
        self._turns.append(turn)
        return turn

    def ring(self) -> list[asyncio.Task[None]]:
        """Begin every step that is due → all that is under way; called by the bell, early, late or again."""
        self._bell_mono = NEVER
        now = self._clock.mono_ms()
        for turn in self._turns:
            if turn.due_mono <= now and not turn.is_under_way and not self.is_over:
                self._begin(turn)
        self._set_bell()
        return list(self._tasks)

    def wake(self, turn: Turn) -> None:
        """Make its next step now, or as soon as the one that is under way has ended."""
        turn.due_mono = 0
        if not turn.is_under_way and not self.is_over:
            self._begin(turn)
            self._set_bell()

    def since_step_ms(self, turn: Turn) -> int:
        """Milliseconds since a step of it last began or ended."""
        return self._clock.mono_ms() - turn.last_step_mono

    async def stop(self, within_s: float) -> None:
        """Begin nothing more; what is under way has so long to end, and is cut then."""
        self.is_over = True
        for sleep in self._sleeps:
            sleep.cancel()
        if self._tasks:
            _, late = await asyncio.wait(list(self._tasks), timeout=within_s)
            for task in late:
                task.cancel()

    # ---- one step

    def _begin(self, turn: Turn) -> None:
        turn.is_under_way = True
        turn.due_mono = NEVER
        self._run(self._take(turn))

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _take(self, turn: Turn) -> None:
        turn.last_step_mono = self._clock.mono_ms()
        try:
            pause_ms = await self.perform(turn.step(), turn)
            turn.retry.reset()
            if 0 < pause_ms <= NEAR_MS and not self.is_over:
                await self._guarded(self._sleep(pause_ms))
                pause_ms = 0
        except Exception as trouble:  # noqa: BLE001 - the outermost place of a loop that must not end by itself
            turn.on_trouble(trouble)
            pause_ms = turn.retry.next_ms()
        finally:
            turn.is_under_way = False
        turn.last_step_mono = self._clock.mono_ms()
        turn.due_mono = min(turn.due_mono, turn.last_step_mono + max(pause_ms, 0))
        self._go_on(turn)

    def _go_on(self, turn: Turn) -> None:
        if turn.due_mono <= self._clock.mono_ms() and not self.is_over:
            self._begin(turn)
        self._set_bell()

    def _set_bell(self) -> None:
        """Set the bell for the next step, if that is earlier than what it was set for."""
        now = self._clock.mono_ms()
        next_mono = min((turn.due_mono for turn in self._turns if not turn.is_under_way), default=NEVER)
        if self._waiting:
            next_mono = min(next_mono, now + GUARD_MS)
        if next_mono < self._bell_mono and not self.is_over:
            self._bell_mono = next_mono
            self._host.set_bell(max(next_mono - now, 0))

    async def perform(self, steps: Steps, turn: Turn) -> int:
        """Carry out what the steps ask for, until they are over → what they returned."""
        performance = Performance(steps, lambda: self.is_over)
        while (effect := performance.next()) is not None:
            with performance:
                performance.answer = await self._perform(effect, turn)
        return performance.pause_ms

    async def _perform(self, effect: Effect, turn: Turn) -> Any:
        match effect:
            case Operation():
                return await self._doer.decide(effect)
            case Read():
                return self._doer.read(effect)
            case Sleep():
                return await self._guarded(self._sleep(effect.ms))
            case Beside():
                self._run(self._beside(effect, turn))
                return ""
            case _:
                return await self._guarded(self._host.send(effect))

    async def _guarded(self, wait: Awaitable[T]) -> T:
        self._waiting += 1
        self._set_bell()
        try:
            return await wait
        finally:
            self._waiting -= 1

    async def _sleep(self, ms: int) -> None:
        """Nothing but the end shortens it."""
        sleep = asyncio.get_running_loop().create_task(self._host.sleep(ms))
        self._sleeps.add(sleep)
        try:
            await asyncio.wait((sleep,))
        finally:
            sleep.cancel()
            self._sleeps.discard(sleep)

    async def _beside(self, effect: Beside, turn: Turn) -> None:
        try:
            await self.perform(effect.steps, turn)
        except Exception as trouble:  # noqa: BLE001 - the outermost place of these steps
            turn.on_trouble(trouble)
        self.wake(turn)
