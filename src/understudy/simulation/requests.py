"""The requests that an application is answering in one life of a simulated hub, on its loop of virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from understudy.simulation.exchange import SimulatedExchange
from understudy.simulation.virtual_loop import VirtualLoop
from understudy.simulation.world import World

Step = Callable[[], None]


class Requests:
    """`finish` is given each request that was answered, or given up; `look` looks at what each turn has left."""

    def __init__(
        self,
        world: World,
        in_this_life: Callable[[Step], Step],
        finish: Callable[[SimulatedExchange], None],
        look: Step,
    ) -> None:
        self.loop = VirtualLoop(world, lambda step: in_this_life(lambda: self._after(step)))
        self._finish = finish
        self._look = look
        self._open: dict[asyncio.Task[None], SimulatedExchange] = {}
        self._over: list[asyncio.Task[None]] = []

    @property
    def are_open(self) -> bool:
        """True if one of them is not answered yet."""
        return bool(self._open)

    def take_in(self, exchange: SimulatedExchange, answered: Coroutine[Any, Any, None]) -> None:
        """A request arrives; `answered` answers it."""
        task = self.loop.create_task(answered)
        self._open[task] = exchange
        task.add_done_callback(self._over.append)
        self.turn()

    def current(self) -> SimulatedExchange | None:
        """The one that is being answered at this instant; None: something else is being done."""
        task = asyncio.current_task()
        return self._open.get(task) if task is not None else None

    def hang_up(self, letter: Any) -> None:
        """Its client has gone away, and the hub sees it."""
        for exchange in self._open.values():
            if exchange.letter is letter:
                exchange.hang_up()
        self.turn()

    def turn(self) -> None:
        """Let the application do what it can."""
        self.loop.turn()
        self._look()
        over = tuple(self._over)
        self._over.clear()
        for task in over:
            task.result()
            self._finish(self._open.pop(task))

    def close(self) -> list[SimulatedExchange]:
        """The process is gone → the requests that it left unanswered."""
        self.loop.close()
        return list(self._open.values())

    def _after(self, step: Step) -> None:
        step()
        self.turn()
