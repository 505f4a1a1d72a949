"""Two writers for a store that several hubs share: while one of them waits for the store, the other one decides.

Theory of operation. On such a store a batch spends half of its time waiting for answers, so with one writer hub and
server would take turns. Therefore one writer takes claims and all that runs alone, another one the rest: heartbeats,
results, renewals, new tasks. To the store, and to each other, two batches of one hub are like those of two hubs, which
the rules for batches beside others provide for (`hub/beside.py`). Each writer begins a batch when its last one has
ended.

Claims have one writer, because a claim passes over what another transaction has locked. A batch of claims locks more
than it takes, so a second one beside it would find an empty queue, or the wrong order, where there is work.

What a caller asks after an answer sees the change behind that answer, which is given after the commit.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from understudy.hub.batch import Committed, Engine
from understudy.hub.operation import Operation
from understudy.runtime.hub.writer import Writer


class Lanes(Writer):
    """The writer of claims and of all that runs alone, with another one beside it."""

    def __init__(self, engine: Engine, on_bug: Callable[[BaseException], None]) -> None:
        super().__init__(engine, on_bug)
        self.beside = Writer(engine, on_bug)
        self.beside.sizes, self.beside.commits_ms = self.sizes, self.commits_ms
        self.beside.after_commit(self._note)

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Start both."""
        super().start(loop)
        self.beside.start(loop)

    def after_commit(self, listener: Callable[[Committed], None]) -> None:
        """Call `listener` on the loop after each commit of either."""
        super().after_commit(listener)
        self.beside.after_commit(listener)

    async def stop(self) -> None:
        """Refuse what comes from now on, commit what is queued, end."""
        self.is_stopping = self._is_closed = True
        await asyncio.gather(self.beside.stop(), super().stop())

    def _ask(self, operation: Operation, reply: Any) -> None:
        if operation.runs_alone or operation.takes_from_queue:
            super()._ask(operation, reply)
            return
        self.beside.is_stopping = self.is_stopping
        self.beside._ask(operation, reply)  # noqa: SLF001 - it is a writer too

    def _note(self, _: Committed) -> None:
        self.commit_ms = self.beside.commit_ms
