"""Hints to the other hubs: there is something to read, and so many tasks of a kind for which no poll waits here.

After a quiet time a hint is sent at once; otherwise at most one is sent in 20 ms. Nothing depends on them: each hub
looks by itself every second (`others.py`).
"""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import suppress

import msgspec
from msgspec import Struct

from understudy.api.waiting import Kind
from understudy.errors import StoreError
from understudy.store.base import SignallingStore

PAUSE_S = 0.02
KINDS_MAX = 50  # of tasks in one hint; for the others each hub looks within a second
KIND_BYTES_MAX = 140  # in the hint, so that KINDS_MAX of them fit into a payload
COUNT_MAX = 1_000


class Hint(Struct, frozen=True, array_like=True):
    """The payload."""

    start_id: str  # of the hub that sends it
    ready: tuple[tuple[str, str, int], ...] = ()


def hint_of(payload: str) -> Hint | None:
    """The hint; None for what is none, such as one of another version."""
    with suppress(msgspec.DecodeError):
        return msgspec.json.decode(payload.encode(), type=Hint)
    return None


def _bytes_of(kind: Kind) -> int:
    return len(msgspec.json.encode(kind))


class Hints:
    """Gathers and sends; used on the event loop only."""

    def __init__(self, store: SignallingStore, start_id: str) -> None:
        self._store = store
        self._start_id = start_id
        self._ready: Counter[Kind] = Counter()
        self._is_due = False
        self._sending: asyncio.Task[None] | None = None

    def add(self, ready: Counter[Kind]) -> None:
        """Something was committed."""
        for kind, count in ready.items():
            has_room = kind in self._ready or (len(self._ready) < KINDS_MAX and _bytes_of(kind) <= KIND_BYTES_MAX)
            if has_room:
                self._ready[kind] = min(self._ready[kind] + count, COUNT_MAX)
        self._is_due = True
        if self._sending is None or self._sending.done():
            self._sending = asyncio.get_running_loop().create_task(self._send())

    async def _send(self) -> None:
        loop = asyncio.get_running_loop()
        while self._is_due:
            ready = tuple((*kind, count) for kind, count in self._ready.items())
            self._ready.clear()
            self._is_due = False
            payload = msgspec.json.encode(Hint(self._start_id, ready)).decode()
            with suppress(StoreError, RuntimeError):  # the store fails, or the hub ends
                await loop.run_in_executor(None, self._store.signal, payload)
            await asyncio.sleep(PAUSE_S)
