"""One life of a hub that sleeps: the real hub on one loop, from its first event until its host forgets it.

It is the hub's `Host`. After its end nothing of it happens any more: no commit, no request, no bell.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from msgspec import Struct

import understudy
from understudy.clock import Clock
from understudy.config.policy import HubInputs
from understudy.errors import UnderstudyError
from understudy.hub.batch import Committed
from understudy.hub.operation import Operation
from understudy.ids import IdMaker
from understudy.log import Log
from understudy.runtime.one_loop.hub import OneLoopHub
from understudy.runtime.one_loop.woken import WokenHub, sleeps_ms_of
from understudy.simulation.exchange import Answer, Letter, Reply, SimulatedExchange, reply_of
from understudy.simulation.front import KEY
from understudy.simulation.requests import Requests
from understudy.simulation.world import ViolationError, World
from understudy.store.base import Store
from understudy.wire.outbound import OutboundAnswer, OutboundRequest

Asked = Callable[[OutboundRequest], tuple[int, OutboundAnswer]]
NAME = "simulated"
DEFECTS = ("Internal error", "Alarm could not ring", "Takeover met", "could not be served")


class ForgottenError(BaseException):
    """This life is over: nothing above may catch it as an error of the store."""


class DefectLog:
    """Its log: what tells of a defect is one."""

    def __init__(self, found: Callable[[ViolationError], None]) -> None:
        self._found = found

    def write(self, text: str) -> None:
        """One line."""
        if "[CRITICAL]" in text and any(words in text for words in DEFECTS):
            self._found(ViolationError("no request ends in a defect", text.strip()))

    def flush(self) -> None:
        """Nothing is held back."""


class ObjectClock:
    """The clock of the place: it stands still between two events, and may be a little behind; it never goes back."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._mono = 0
        self.behind_ms = 0

    def mono_ms(self) -> int:
        """Elapsed time."""
        self._mono = max(self._mono, self._clock.mono_ms() - self.behind_ms)
        return self._mono

    def now_ms(self) -> int:
        """Wall time."""
        return self._clock.now_ms() - (self._clock.mono_ms() - self.mono_ms())


class Surroundings(Struct, frozen=True):
    """The parts of its place that a life needs, and that outlive it."""

    world: World
    given: HubInputs
    store: Store
    clock: ObjectClock
    ids: IdMaker
    asked: Asked
    set_bell: Callable[[int], None]
    leave: Callable[[SimulatedExchange], None]  # an answer sets out
    decided: Callable[[Letter, Reply], None]  # for a request
    saw: Callable[[Operation | None, Committed], None]  # a commit, with the operation if a loop wanted it
    missed_a_sign: Callable[[], None]


class PlayedHub(OneLoopHub):
    """The hub, observed."""

    def __init__(self, life: ObjectLife, given: HubInputs, log: Log) -> None:
        around = life.around
        self.life = life
        self.dice = around.world.random.random
        sleeps_ms, version = sleeps_ms_of(given.policy), understudy.__version__
        super().__init__(around.store, around.clock, around.ids, log, version, given, life, sleeps_ms=sleeps_ms)

    async def decide(self, operation: Operation) -> Any:
        """As ever, unless this life is over."""
        exchange = self.life.begin(operation)
        try:
            answer = await super().decide(operation)
        except Exception as refusal:
            exchange.decided = refusal
            raise
        exchange.decided = answer
        return answer

    def missed_a_sign(self) -> None:
        """The oracle must know."""
        super().missed_a_sign()
        self.life.around.missed_a_sign()


class ObjectLife(WokenHub):
    """The hub of one life, its requests and what is under way."""

    def __init__(self, around: Surroundings) -> None:
        super().__init__(lambda: around.given, lambda: around.store, self, DefectLog(self._finds), around.clock, NAME)
        self.around = around
        self.is_over = False
        self.requests = Requests(around.world, self.in_this_life, self._finish, self._look)
        self._found: list[ViolationError] = []
        self._operation: Operation | None = None
        self._waiting: list[Committed] = []  # commits of a request that the oracle sees after its answer
        self._nobody = SimulatedExchange(Letter(NAME, "", "", {}, b""), lambda _: None, "")

    def _make_hub(self, given: HubInputs, log: Log) -> OneLoopHub:
        hub = PlayedHub(self, given, log)
        hub.after_commit(self._committed)
        return hub

    # ---- events

    def receive(self, letter: Letter, answer: Answer) -> None:
        """A request arrives."""
        exchange = SimulatedExchange(letter, answer, KEY, lambda: self._reports(exchange))
        self.requests.take_in(exchange, self._answered(exchange))

    async def _answered(self, exchange: SimulatedExchange) -> None:
        try:
            app = await self.app()
        except ForgottenError:
            return
        except UnderstudyError as error:
            exchange.reply = reply_of(error)
            return
        with suppress(ForgottenError):
            await app(exchange.scope(), exchange.receive, exchange.send)

    def rung(self, done: Callable[[bool], None]) -> None:
        """The bell; `done` is called with whether the hub was able to take it."""

        async def ring() -> None:
            try:
                await self.ring()
            except ForgottenError:
                return
            except UnderstudyError:
                done(False)  # noqa: FBT003 - the only thing to say
            else:
                done(True)  # noqa: FBT003

        self.requests.loop.create_task(ring())
        self.requests.turn()

    def end(self) -> list[SimulatedExchange]:
        """It is forgotten → the requests that it left unanswered."""
        self.is_over = True
        left = self.requests.close()
        for exchange in left:
            self._reports(exchange)
        self._raise_found()
        return left

    def in_this_life(self, step: Callable[[], None]) -> Callable[[], None]:
        """A step that happens only if this life goes on."""
        return lambda: None if self.is_over else step()

    # ---- what a hub needs of its host

    def set_bell(self, ms: int) -> None:
        """It outlives this life."""
        if not self.is_over:
            self.around.set_bell(ms)

    async def send(self, request: OutboundRequest) -> OutboundAnswer:
        """One exchange with another server."""
        if self.is_over:
            raise ForgottenError
        try:
            took_ms, answer = self.around.asked(request)
        except ViolationError as found:
            self._finds(found)
            raise ForgottenError from found
        await self.sleep(took_ms)
        return answer

    async def sleep(self, ms: int) -> None:
        """Let time pass."""
        await asyncio.sleep(ms / 1000)

    # ---- what the oracle sees

    def begin(self, operation: Operation) -> SimulatedExchange:
        """Something is to be decided → the request that wants it."""
        if self.is_over:
            raise ForgottenError
        self._tell_commits()
        exchange = self.requests.current() if self._hub is not None else None  # a start is nobody's request
        self._operation = operation if exchange is None else None
        if exchange is None:
            return self._nobody
        exchange.is_decided = True
        return exchange

    def _committed(self, committed: Committed) -> None:
        self._waiting.append(committed)
        if self._operation is not None:
            self._tell_commits()

    def _tell_commits(self) -> None:
        waiting, self._waiting = self._waiting, []
        for committed in waiting:
            self._guarded(lambda committed=committed: self.around.saw(self._operation, committed))  # type: ignore[misc]

    def _reports(self, exchange: SimulatedExchange) -> None:
        """A decision is the hub's word, whether or not the answer arrives."""
        known = exchange.reply or exchange.unsent()
        if exchange.is_decided and not exchange.is_known and known is not None:
            exchange.is_known = True
            self._guarded(lambda: self.around.decided(exchange.letter, known))
        self._tell_commits()

    def _guarded(self, look: Callable[[], None]) -> None:
        """Violations are raised when the application has had its turn: it would take them for its own."""
        try:
            look()
        except ViolationError as found:
            self._finds(found)

    def _finds(self, found: ViolationError) -> None:
        self._found.append(found)

    def _look(self) -> None:
        self._operation = None
        self._tell_commits()
        self._raise_found()

    def _raise_found(self) -> None:
        found, self._found = self._found, []
        for violation in found:
            raise violation

    def _finish(self, exchange: SimulatedExchange) -> None:
        self._reports(exchange)
        self.around.leave(exchange)
