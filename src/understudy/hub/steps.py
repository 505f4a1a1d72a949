"""The steps of the hub's loops, which a driver performs: a thread of the server, the simulator, or one loop for all.

A loop is an object whose `step` is a generator. It yields effects, is sent their answers (what an effect raises is
raised at the yield), and returns how many ms may pass until the next step unless it is woken earlier. An operation is
an effect too; so is a request to another server. Nothing in here blocks, so the driver chooses what a step runs on.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, TypeVar

from msgspec import Struct

from understudy.hub.operation import Operation
from understudy.store.base import Reader
from understudy.wire.outbound import OutboundRequest

T = TypeVar("T")


class Read(Struct, frozen=True):
    """Read something from the store, beside the writer → what `show` returned."""

    show: Callable[[Reader], Any]


class Sleep(Struct, frozen=True):
    """Let time pass; nothing but the end of the loop shortens it."""

    ms: int


class Beside(Struct, frozen=True):
    """Begin other steps that run beside this loop, and wake it when they end → why they could not begin, or ""."""

    name: str
    steps: Steps


Effect = Operation | Read | Sleep | Beside | OutboundRequest
Steps = Generator[Effect, Any, int]


class LoopIsOver(BaseException):
    """Raised where steps ask for what is not carried out any more; they may still yield last words."""


def asked(effect: Effect) -> Generator[Effect, Any, Any]:
    """One effect as steps: its answer."""
    return (yield effect)


def unless_over(
    steps: Generator[Effect, Any, T], give_back: Generator[Effect, Any, object]
) -> Generator[Effect, Any, T]:
    """The outcome of these steps; what the end of the hub prevents is given back."""
    try:
        return (yield from steps)
    except LoopIsOver:
        yield from give_back
        raise


class Performance:
    """Steps that a driver carries out: `next` is the next effect, `with` it its answer is set, or it raises.

    Once it is over, only last words are still taken: the outcome of a request to another server, so that the request
    is not made again at the next start, or that it was not made.
    """

    def __init__(self, steps: Steps, is_over: Callable[[], bool]) -> None:
        self._steps = steps
        self._is_over = is_over
        self._error: Exception | None = None
        self.answer: Any = None
        self.pause_ms = 0  # as the steps returned it

    def next(self) -> Effect | None:
        """The next effect; None: that was all."""
        answer, error, self.answer, self._error = self.answer, self._error, None, None
        try:
            effect = self._steps.send(answer) if error is None else self._steps.throw(error)
            while self._is_over() and not (isinstance(effect, Operation) and effect.is_last_word):
                effect = self._steps.throw(LoopIsOver())
        except StopIteration as end:
            self.pause_ms = int(end.value or 0)
            return None
        except LoopIsOver:
            return None
        return effect

    def __enter__(self) -> None:
        """The effect is carried out."""

    def __exit__(self, kind: type[BaseException] | None, raised: BaseException | None, trace: object) -> bool:
        """The steps that asked decide about what it raised."""
        self._error = raised if isinstance(raised, Exception) else None
        return self._error is not None
