"""The free room of a store, as of a moment ago: each result asks for it, and each look costs statements."""

from __future__ import annotations

import time
from collections.abc import Callable
from math import inf

from understudy.store.base import Room

ROOM_FOR_S = 0.25  # and then others than tasks, messages and results may have written something


class LastRoom:
    """The last look, for all transactions of a store; what each of them takes is counted on it (`Room.take`)."""

    def __init__(self) -> None:
        self._room = Room(0, 0)
        self._until_s = -inf

    def get(self, look: Callable[[], Room]) -> Room:
        """The room as of the last look; of a new one if that is too long ago."""
        if time.monotonic() > self._until_s:
            self._room = look()
            self._until_s = time.monotonic() + ROOM_FOR_S
        return self._room
