"""Logs the troubles of a hub's loops, on threads or on one loop; passes on failures of the store."""

from __future__ import annotations

from collections.abc import Callable

from understudy.errors import StoreError
from understudy.hub.batch import DEAF_FOR_S
from understudy.log import Log

OnTrouble = Callable[[BaseException], None]


class Troubles:
    """`store_failed` is called with a failure of the store, which is said once and not by each loop."""

    def __init__(self, log: Log, store_failed: OnTrouble) -> None:
        self._log = log
        self._store_failed = store_failed

    def bug(self, bug: BaseException) -> None:
        """A defect of the hub itself."""
        self._log.emit("critical", "Hub", f"Internal error: {type(bug).__name__}: {bug}")

    def alarm(self, trouble: BaseException) -> None:
        """The alarm could not look, or retention could not remove something."""
        self._say(trouble, "TaskCoordinator", f"Alarm could not ring: {trouble}")

    def takeover(self, trouble: BaseException) -> None:
        """A turn or a call of takeover."""
        self._say(trouble, "Takeover", f"Takeover met {type(trouble).__name__}: {trouble}")

    def channel(self, name: str) -> OnTrouble:
        """A step of one channel."""
        return lambda trouble: self._say(trouble, "Outbox", f"Channel {name} could not be served: {trouble}")

    def refused_a_sign(self) -> None:
        """A sign of life could not be taken by this hub's own fault."""
        said = f"A sign of life was refused: silence does not count for {DEAF_FOR_S} s"
        self._log.emit("warning", "Hub", said)

    def _say(self, trouble: BaseException, component: str, sentence: str) -> None:
        if isinstance(trouble, StoreError):
            self._store_failed(trouble)
        else:
            self._log.emit("critical", component, sentence)
