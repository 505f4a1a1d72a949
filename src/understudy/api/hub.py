"""The hub as the API sees it: a runtime implements this on threads, the simulator in one thread of virtual time.

Nothing here says where a commit runs or which store keeps it, so another host needs these few methods and no more.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Protocol, TypeVar, runtime_checkable

from msgspec import Struct

from understudy.api.event_feed import EventFeed
from understudy.api.waiting import Waiting
from understudy.clock import Clock
from understudy.hub.counting import Counted
from understudy.hub.operation import Operation
from understudy.hub.views import View
from understudy.ids import IdMaker
from understudy.log import Log

T = TypeVar("T")


class Recipient(Protocol):
    """The one who is given the answer to an operation: an asyncio future, or what stands in its place."""

    def done(self) -> bool:
        """True if nobody waits for the answer any more."""
        ...

    def set_result(self, answer: Any, /) -> None:
        """Take the answer."""
        ...

    def set_exception(self, trouble: BaseException, /) -> None:
        """Take what it was refused with, or what it failed with."""
        ...


@runtime_checkable
class CallsBack(Protocol):
    """A hub that answers by a call, without a task for each request; only then a request may go past ASGI."""

    def ask(self, operation: Operation, recipient: Recipient) -> None:
        """As `Hub.decide`, on the event loop; UnavailableError at once if it is not even asked."""
        ...


class HubPulse(Struct, frozen=True):
    """A hub's own signs of life, as `/ready` shows them."""

    commit_ms: float  # how long the last commit took
    since_ring_ms: int  # since the alarm looked at all deadlines
    lag_ms: int  # how late it was then
    next_ring_at: int  # when it will ring again


class Hub(Protocol):
    """A running hub; used on the event loop only."""

    clock: Clock
    ids: IdMaker
    log: Log
    version: str
    shown_name: str  # the one that its owner gave it; "": none, and that of the machine is nobody's business
    started_at: int
    is_draining: bool  # it is about to stop, and still serves: a proxy in front must send it nothing more
    waiting: Waiting
    feed: EventFeed

    def decide(self, operation: Operation) -> Awaitable[Any]:
        """The operation's answer, durable; raises what it was refused with."""
        ...

    async def view(self, show: Callable[[View], T], key_id: str = "") -> T:
        """The result of a short read, in the queue of this key; "" is the hub itself."""
        ...

    async def search(self, key_id: str, show: Callable[[View], T]) -> T:
        """The result of a read that may have to look at everything."""
        ...

    def missed_a_sign(self) -> None:
        """A sign of life could not be taken by this hub's own fault: for a while nobody's silence counts."""
        ...

    def pulse(self) -> HubPulse:
        """The state of its alarm and its commits now."""
        ...

    def counted(self) -> Counted:
        """All that this process has counted since its start."""
        ...
