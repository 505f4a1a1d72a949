"""A hint to the other hubs fits into what the store carries, whatever the tasks need."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable

import msgspec
import pytest

from understudy.runtime.hub.hints import KINDS_MAX, Hints, hint_of
from understudy.store.postgres_signals import PAYLOAD_BYTES_MAX

START = "s" * 36


class Carrier:
    """The part of a store that carries hints."""

    def __init__(self) -> None:
        self.sent: list[str] = []

    def signal(self, payload: str) -> None:
        self.sent.append(payload)

    def listen(self, on_signal: Callable[[str], None]) -> Callable[[], None]:
        raise NotImplementedError


@pytest.mark.parametrize("tag", ["a", "機械の札", '"\\', "\x01", "😀😀"])
def test_a_hint_of_many_kinds_of_tasks_is_never_too_long(tag: str) -> None:
    """Fifty sets of Japanese tags at once were 10,000 bytes: they were refused, and the other hub heard nothing."""
    carrier = Carrier()

    async def send() -> None:
        hints = Hints(carrier, START)
        for length in range(1, 9):
            needs = (msgspec.json.encode([f"{n:02d}", *[tag] * length]).decode() for n in range(60))
            hints.add(Counter({(one, "d" * 20): 1_000_000 for one in needs}))
            assert hints._sending is not None
            await hints._sending

    asyncio.run(send())
    assert max(len(payload.encode()) for payload in carrier.sent) <= PAYLOAD_BYTES_MAX
    assert len(carrier.sent) == 8
    first = hint_of(carrier.sent[0])
    assert first is not None
    assert len(first.ready) == KINDS_MAX
