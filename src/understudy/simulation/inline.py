"""The writer without its thread, and requests that wait for their batch or for work to come."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from understudy.hub.batch import Committed, Engine
from understudy.hub.operation import Operation
from understudy.runtime.writer import Writer
from understudy.simulation.edge import Letter, Matched, Reply

Answer = Callable[[Reply | None], None]  # None: the connection broke


class HubKilledError(BaseException):
    """SIGKILL in the middle of a commit: nothing above may catch it as an error of the store."""


class Pending(msgspec.Struct, eq=False):
    """A request that waits for its batch, or for work to come."""

    letter: Letter
    matched: Matched
    answer: Answer
    until_ms: int  # a long poll: how long it may wait
    provides: frozenset[str] = frozenset()  # of its worker, once it waits


class InlineWriter(Writer):
    """The writer without its thread: the alarm's operations are decided where they are asked."""

    def __init__(self, engine: Engine, decide: Callable[[Operation], Any]) -> None:
        super().__init__(engine, _raise)
        self._decide = decide

    def decide_blocking(self, operation: Operation, timeout_s: float = 30) -> Any:
        """The operation's answer; raises what it was refused with."""
        answer = self._decide(operation)
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def tell(self, committed: Committed) -> None:
        """What the event loop does after a commit."""
        for listener in self._after:
            listener(committed)


def _raise(bug: BaseException) -> None:
    raise bug
