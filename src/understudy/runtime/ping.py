"""Who watches the watcher: an address outside is told regularly, only when alarm, store and outbox were proven alive.

When the hub, its machine or its network is gone, the pings stop, and whoever is behind that address says so.
"""

from __future__ import annotations

import threading

from msgspec import Struct

from understudy.errors import UnderstudyError
from understudy.hub.starts import Probe
from understudy.log import Log
from understudy.runtime.alarm import Alarm
from understudy.runtime.delivery import Deliverers
from understudy.runtime.transport import Transport
from understudy.runtime.writer import Writer
from understudy.wire.outbound import HttpAnswer, HttpRequest

ALARM_STALE_MS = 65_000  # it looks at the latest every 60 s
OUTBOX_STALE_MS = 150_000  # a channel looks every 30 s, and a message of several parts may take a while
TIMEOUT_MS = 10_000


class Proofs(Struct, frozen=True):
    """What must be alive."""

    writer: Writer
    alarm: Alarm
    deliverers: Deliverers


class Ping:
    """A thread that asks for one address; without an address nothing runs."""

    def __init__(self, url: str, interval_ms: int, proofs: Proofs, transport: Transport, log: Log) -> None:
        self._url = url
        self._interval_ms = interval_ms
        self._proofs = proofs
        self._transport = transport
        self._log = log
        self._clock = proofs.writer.engine.clock
        self._started_mono = self._clock.mono_ms()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="ping", daemon=True)

    def start(self) -> None:
        """Begin, if there is an address."""
        if self._url:
            self._thread.start()

    def stop(self) -> None:
        """Ping no more; a hub that is stopped on purpose is missed all the same."""
        self._stopped.set()

    def _run(self) -> None:
        while not self._stopped.is_set():
            self.step()
            self._stopped.wait(self._interval_ms / 1000)

    def step(self) -> None:
        """Look, and tell if all is well."""
        try:
            trouble = self.trouble()
        except Exception as error:  # noqa: BLE001 - one look that fails must not end all that follow
            trouble = f"{type(error).__name__}: {error}"
        if self._stopped.is_set():
            return
        if trouble:
            self._log.emit("critical", "Watchdog", f"The outside watchdog was not told: {trouble}")
        else:
            self._tell()

    def _tell(self) -> None:
        answer = self._transport.send(HttpRequest("GET", self._url, timeout_ms=TIMEOUT_MS))
        if not (isinstance(answer, HttpAnswer) and 200 <= answer.status < 300):  # noqa: PLR2004 - any success
            why = (
                f"status {answer.status}" if isinstance(answer, HttpAnswer) else getattr(answer, "reason", "no answer")
            )
            self._log.emit("warning", "Watchdog", f"The outside watchdog did not take it: {why}")

    def trouble(self) -> str:
        """What of the hub could not be proven alive just now; "" if all of it was."""
        try:
            self._proofs.writer.decide_blocking(Probe(), timeout_s=TIMEOUT_MS / 1000)
        except (UnderstudyError, TimeoutError) as error:
            return f"the store takes no write ({error})"
        if self._clock.mono_ms() - max(self._proofs.alarm.last_ring_mono, self._started_mono) > ALARM_STALE_MS:
            return "the alarm has not rung"
        if self._proofs.deliverers.longest_pause_ms() > OUTBOX_STALE_MS:
            return "a channel of the outbox stands still"
        return ""
