"""Runs one hub as bench/hub_server.py does, and writes down whenever its event loop was held.

Held is what keeps all other requests waiting: the time between two turns of the loop, as far as this process used the
CPU in it (its own work, or another of its threads that kept the interpreter). A machine that is busy with something
else does not count. Each line of the file: milliseconds, a tab, the instant on the monotonic clock. Beside it stands a
file with the stacks of all threads, written while the loop was held. (By a thread of Python: `faulthandler`'s own reads
frames without holding the interpreter, and under load it ended the hub with a segmentation fault.)
"""

from __future__ import annotations

import asyncio
import sys
import threading
import time
import traceback
from typing import TextIO

import uvloop

from bench.hub_server import inputs_of
from understudy.runtime.hub.server import serve

TURN_S = 0.005
HELD_MS = 20
WORTH_STACKS_S = TURN_S + 0.04
LOOK_S = 0.01
STACKS_EVERY_S = 1.0  # writing them takes long, too


class Watch:
    """A timer on the loop itself."""

    def __init__(self, loop: asyncio.AbstractEventLoop, holds: TextIO, stacks: TextIO) -> None:
        self._loop = loop
        self._holds = holds
        self._stacks = stacks
        self._wall, self._cpu = time.monotonic(), time.process_time()
        loop.call_soon(self._turn)
        threading.Thread(target=self._look, daemon=True).start()

    def _turn(self) -> None:
        wall, cpu = time.monotonic(), time.process_time()
        held_ms = min(wall - self._wall - TURN_S, cpu - self._cpu) * 1000
        if held_ms > HELD_MS:
            self._holds.write(f"{held_ms:.1f}\t{wall:.3f}\n")
            self._holds.flush()
        self._wall, self._cpu = wall, cpu
        self._loop.call_later(TURN_S, self._turn)

    def _look(self) -> None:
        written = 0.0
        while True:
            time.sleep(LOOK_S)
            turned = self._wall
            if turned != written and time.monotonic() - turned > WORTH_STACKS_S:
                written = turned
                self._write_stacks()
                time.sleep(STACKS_EVERY_S)

    def _write_stacks(self) -> None:
        names = {thread.ident: thread.name for thread in threading.enumerate()}
        for ident, frame in sys._current_frames().items():
            self._stacks.write(f"{names.get(ident)}:\n{''.join(traceback.format_stack(frame))}\n")
        self._stacks.flush()


def main() -> int:
    """Serve until a signal."""
    given = inputs_of(sys.argv[1])
    holds = (given.data_dir / "holds.tsv").open("a")
    stacks = (given.data_dir / "holds.txt").open("a")
    made = uvloop.new_event_loop

    def watched() -> asyncio.AbstractEventLoop:
        loop = made()
        Watch(loop, holds, stacks)
        return loop

    uvloop.new_event_loop = watched  # type: ignore[assignment]
    return serve(given)


if __name__ == "__main__":
    sys.exit(main())
