"""The steps of the hub's loops, which a driver performs: a thread of the server, the simulator, or one loop for all.

A loop is an object whose `step` is a generator. It yields effects, is sent their answers (what an effect raises is
raised at the yield), and returns how many ms may pass until the next step unless it is woken earlier. An operation is
an effect too; so is a request to another server. Nothing in here blocks, so the driver chooses what a step runs on.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

from msgspec import Struct

from understudy.hub.operation import Operation
from understudy.store.base import Reader
from understudy.wire.outbound import OutboundRequest


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
