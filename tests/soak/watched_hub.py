"""Runs one hub as bench/hub_server.py does, and writes down whenever its event loop was held.

Held is what keeps all other requests waiting: the time between two turns of the loop, as far as this process used the
CPU in it (its own work, or another of its threads that kept the interpreter). A machine that is busy with something
else does not count. Each line of the file: milliseconds, a tab, the instant on the monotonic clock. Beside it stands a
file with the stacks of whatever held the loop, written while it did.
"""

from __future__ import annotations

import asyncio
import faulthandler
import sys
import time
from typing import TextIO

import uvloop

from bench.hub_server import settings_of
from understudy.api.server import serve

TURN_S = 0.005
HELD_MS = 20


class Watch:
    """A timer on the loop itself."""

    def __init__(self, loop: asyncio.AbstractEventLoop, holds: TextIO, stacks: TextIO) -> None:
        self._loop = loop
        self._holds = holds
        self._stacks = stacks
        self._wall, self._cpu = time.monotonic(), time.process_time()
        loop.call_soon(self._turn)

    def _turn(self) -> None:
        wall, cpu = time.monotonic(), time.process_time()
        held_ms = min(wall - self._wall - TURN_S, cpu - self._cpu) * 1000
        if held_ms > HELD_MS:
            self._holds.write(f"{held_ms:.1f}\t{wall:.3f}\n")
            self._holds.flush()
        self._wall, self._cpu = wall, cpu
        faulthandler.dump_traceback_later(TURN_S + 0.04, file=self._stacks)
        self._loop.call_later(TURN_S, self._turn)


def main() -> int:
    """Serve until a signal."""
    settings = settings_of(sys.argv[1])
    holds = (settings.data_dir / "holds.tsv").open("a")
    stacks = (settings.data_dir / "holds.txt").open("a")
    made = uvloop.new_event_loop

    def watched() -> asyncio.AbstractEventLoop:
        loop = made()
        Watch(loop, holds, stacks)
        return loop

    uvloop.new_event_loop = watched  # type: ignore[assignment]
    return serve(settings)


if __name__ == "__main__":
    sys.exit(main())
