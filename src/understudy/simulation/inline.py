"""Requests that wait for their batch or for work to come, and how a hub dies among them."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

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
