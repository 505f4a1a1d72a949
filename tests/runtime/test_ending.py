"""The end of a hub that finds out by itself that it must stop."""

from __future__ import annotations

import asyncio
import signal
from io import StringIO
from typing import Any

import pytest

from understudy.clock import ManualClock
from understudy.log import Log
from understudy.runtime.hub.ending import SIGNALS, Ending


class Parts:
    """The hub, its server and its supervisor, as far as an end is concerned."""

    def __init__(self) -> None:
        self.is_draining = False
        self.seen: list[str] = []

    def drain(self) -> None:
        self.is_draining = True

    def stopping(self, drain_s: float) -> None:
        self.seen.append("stopping")

    def begin_end(self) -> None:
        self.seen.append("every answer is still given")

    def release_waiters(self) -> None:
        self.drain()

    def stop_now(self) -> None:
        self.seen.append("nobody is waited for")


@pytest.mark.parametrize("drain_s", [0.0, 60.0])
@pytest.mark.parametrize("signals", [0, 1])
def test_a_hub_that_ends_by_itself_gives_every_answer_also_if_it_was_asked_to_stop_before(
    signals: int, drain_s: float
) -> None:
    """In a rolling upgrade both come at once: the new hub migrates the store while the old one is stopped."""
    parts: Any = Parts()
    ending = Ending(parts, parts, parts, Log(ManualClock(), StringIO()), drain_s)

    async def end() -> None:
        for _ in range(signals):
            ending.signalled()
        ending.begin()

    asyncio.run(end())
    assert parts.is_draining
    assert parts.seen.count("stopping") == 1
    assert "nobody is waited for" not in parts.seen


@pytest.mark.parametrize(("signals", "waits"), [(1, True), (2, False)])
def test_only_a_second_signal_waits_for_nobody_whoever_began_the_end(signals: int, waits: bool) -> None:
    parts: Any = Parts()
    ending = Ending(parts, parts, parts, Log(ManualClock(), StringIO()), 0)
    before = [(number, signal.getsignal(number)) for number in SIGNALS]

    async def end() -> None:
        ending.begin()
        for _ in range(signals):
            ending.signalled()

    asyncio.run(end())
    for number, handler in before:
        signal.signal(number, handler)
    assert ("nobody is waited for" not in parts.seen) == waits
