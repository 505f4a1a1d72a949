"""The end of a hub, in order: not ready, no new connections, every answer, every commit, the store.

The first SIGTERM or SIGINT begins it. For a while the hub serves as before, but `/ready` answers 503, so that a proxy
in front sends its requests elsewhere. Then long polls and streams are let go, and the server stops as
`listening.py` says. A second signal waits for no client any more; a third one is the system's own, and kills.
"""

from __future__ import annotations

import asyncio
import signal
from contextlib import suppress

from understudy.log import Log
from understudy.runtime.hub.listening import HubServer
from understudy.runtime.hub.runtime import HubRuntime
from understudy.runtime.supervisor import Watchdog

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Ending:
    """Takes the signals; used on the event loop only."""

    def __init__(self, hub: HubRuntime, server: HubServer, watchdog: Watchdog, log: Log, drain_s: float) -> None:
        self._hub = hub
        self._server = server
        self._watchdog = watchdog
        self._log = log
        self._drain_s = drain_s
        self._is_signalled = False

    def signalled(self) -> None:
        """SIGTERM or SIGINT has come."""
        if self._is_signalled:
            self._stop_now()
        else:
            self._is_signalled = True
            self.begin()

    def begin(self) -> None:
        """Begin the end, unless it has begun: by the first signal, or because this hub must not go on."""
        if self._hub.is_draining:
            return
        if self._drain_s:
            self._drain()
        else:
            self._hub.drain()
            self._watchdog.stopping(self._drain_s)
            self._stop()

    def _drain(self) -> None:
        self._hub.drain()
        self._watchdog.stopping(self._drain_s)
        self._log.emit("info", "Hub", f"Stopping: /ready answers 503, and requests are served for {self._drain_s:g} s")
        asyncio.get_running_loop().call_later(self._drain_s, self._stop)

    def _stop(self) -> None:
        self._server.begin_end()
        self._hub.release_waiters()

    def _stop_now(self) -> None:
        """Nobody is waited for; what was acknowledged is on disk, and the store is still closed in order."""
        loop = asyncio.get_running_loop()
        for number in SIGNALS:
            with suppress(ValueError):
                loop.remove_signal_handler(number)
                signal.signal(number, signal.SIG_DFL)
        self._stop()
        self._server.stop_now()
