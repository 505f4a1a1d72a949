"""The API in one life of a simulated hub: the application that the server hosts, on a loop of virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from io import StringIO
from typing import Any, TypeVar

from understudy.api.app import build_app
from understudy.api.auth import Keys, RateLimit
from understudy.api.context import Api
from understudy.api.event_feed import EventFeed
from understudy.api.hub import HubPulse
from understudy.api.waiting import Waiting
from understudy.clock import Clock
from understudy.coordinator.nouns import Policy
from understudy.hub.batch import Engine
from understudy.hub.claims import NothingYet
from understudy.hub.counting import TIMES_MS, Counted, Spread
from understudy.hub.operation import Operation
from understudy.hub.views import View
from understudy.ids import IdMaker
from understudy.log import Log
from understudy.simulation.exchange import Answer, Letter, SimulatedExchange
from understudy.simulation.requests import Requests
from understudy.simulation.world import ViolationError, World
from understudy.store.base import Store

T = TypeVar("T")
KEY = "key-of-everybody"
UNLIMITED = 1e9  # requests: nobody here sends too many


class WaitingOperation:
    """An operation that waits for its batch."""

    def __init__(self, operation: Operation, answer: asyncio.Future[Any], exchange: SimulatedExchange) -> None:
        self.operation = operation
        self.exchange = exchange
        self._answer = answer

    def settle(self, answer: Any, *, is_unknown: bool = False) -> None:
        """It was decided; its client may be gone, and if that is unknown, the hub says only that something failed."""
        self.exchange.decided = answer
        self.exchange.is_unknown = is_unknown and not isinstance(answer, NothingYet | Exception)
        if self._answer.done():
            return
        if isinstance(answer, BaseException):
            self._answer.set_exception(answer)
        else:
            self._answer.set_result(answer)


class Front:
    """The hub as the API needs it (api/hub.py), without threads.

    `put` takes an operation to the next batch; `finish` is given each request that was answered, or given up.
    """

    def __init__(
        self,
        world: World,
        engine: Engine,
        put: Callable[[WaitingOperation], None],
        in_this_life: Callable[[Callable[[], None]], Callable[[], None]],
        finish: Callable[[SimulatedExchange], None],
        missed_a_sign: Callable[[], None],
    ) -> None:
        self.clock: Clock = world.clock
        self.ids: IdMaker = engine.ids
        self._lines = StringIO()
        self.log = Log(world.clock, self._lines, level="critical")
        self.version = "0"
        self.shown_name = ""
        self.is_draining = False
        self.started_at = world.clock.now_ms()
        self.waiting = Waiting()
        self.feed = EventFeed()
        self._store: Store = engine.store
        self._policy: Policy = engine.policy
        self._put = put
        self.missed_a_sign = missed_a_sign
        self._requests = Requests(world, in_this_life, finish, self._look)
        self._app = build_app(Api(self, Keys({"ADMIN_API_KEY": KEY}), RateLimit(world.clock, UNLIMITED, UNLIMITED)))

    # ---- its network

    def take_in(self, letter: Letter, answer: Answer) -> None:
        """A request arrives."""
        exchange = SimulatedExchange(letter, answer, KEY)
        self._requests.take_in(exchange, self._app(exchange.scope(), exchange.receive, exchange.send))

    def hang_up(self, letter: Letter) -> None:
        """Its client has gone away, and the hub sees it."""
        self._requests.hang_up(letter)

    def turn(self) -> None:
        """Let the application do what it can."""
        self._requests.turn()

    def _look(self) -> None:
        if self._lines.tell():
            raise ViolationError("no request ends in a defect", self._lines.getvalue())

    def close(self) -> list[SimulatedExchange]:
        """The process is gone → the requests that it left unanswered."""
        return self._requests.close()

    # ---- what the API asks

    async def decide(self, operation: Operation) -> Any:
        """The operation's answer, durable."""
        exchange = self._requests.current()
        assert exchange is not None
        exchange.is_decided = True
        answer = asyncio.get_running_loop().create_future()
        self._put(WaitingOperation(operation, answer, exchange))
        return await answer

    async def view(self, show: Callable[[View], T], key_id: str = "") -> T:
        """The result of a view."""
        return self._store.read(lambda reader: show(View(reader, reader.now_ms(self.clock), self._policy)))

    async def search(self, key_id: str, show: Callable[[View], T]) -> T:
        """The result of a view that may have to read everything."""
        return await self.view(show)

    def pulse(self) -> HubPulse:
        """Nobody asks for it here."""
        return HubPulse(0.0, 0, 0, 0)

    def counted(self) -> Counted:
        """Nobody asks for it here."""
        return Counted(0, 0, {}, {}, 0, 0, *(Spread(TIMES_MS) for _ in range(3)))
