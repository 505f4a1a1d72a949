"""Tells systemd that this process is ready, makes progress, or stops; nothing happens under any other parent.

sd_notify(3) is one datagram, so there is no library for it here (docs/measured.md, Services).
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Callable, Iterator, Mapping

from understudy.clock import Clock
from understudy.runtime.stepper import Stepper

READY, STOPPING, ALIVE = "READY=1", "STOPPING=1", "WATCHDOG=1"
MORE_TIME = "EXTEND_TIMEOUT_USEC={}"  # from when it is sent
MORE_S, MORE_EVERY_MS = 60, 15_000
FEEDS_PER_INTERVAL = 4
TELL_WITHIN_S = 1.0
STOP_MORE_S = 45  # beyond the drain: cut 15 s, deliver 5 s, last beat 5 s (daemon/life), and room for a slow disk


def tell_supervisor(words: str, environ: Mapping[str, str]) -> bool:
    """Send it, if there is a supervisor → whether it was sent."""
    address = environ.get("NOTIFY_SOCKET", "")
    if not address:
        return False
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as to:
        to.settimeout(TELL_WITHIN_S)  # one that does not read must not stop us
        to.sendto(words.encode(), "\0" + address[1:] if address.startswith("@") else address)
        return True
    return False


def watchdog_s(environ: Mapping[str, str], pid: int) -> float:
    """Seconds within which it must get a sign of life; 0: it wants none."""
    given, meant = environ.get("WATCHDOG_USEC", ""), environ.get("WATCHDOG_PID", "")
    is_ours = given.isdecimal() and meant in ("", str(pid))
    return int(given) / 1_000_000 if is_ours else 0.0


@contextlib.contextmanager
def more_time(environ: Mapping[str, str], clock: Clock) -> Iterator[None]:
    """Within, a start takes as long as it takes: systemd's limit for it does not run out."""

    def ask() -> int:
        tell_supervisor(MORE_TIME.format(MORE_S * 1_000_000), environ)
        return MORE_EVERY_MS

    stepper = Stepper("more time", ask, clock, lambda _: None)
    if environ.get("NOTIFY_SOCKET"):
        with contextlib.suppress(RuntimeError):  # a machine that has no thread to give
            stepper.start()
    try:
        yield
    finally:
        stepper.stop()
        stepper.join(TELL_WITHIN_S)


class Watchdog:
    """Feeds systemd's watchdog while `is_well`; a program that is wedged is then killed and started anew."""

    def __init__(
        self, environ: Mapping[str, str], is_well: Callable[[], bool], clock: Clock, pid: int | None = None
    ) -> None:
        self._environ = environ
        self._is_well = is_well
        self._pause_ms = round(1000 * watchdog_s(environ, os.getpid() if pid is None else pid) / FEEDS_PER_INTERVAL)
        self._stepper = Stepper("watchdog", self._feed, clock, lambda _: None)

    def ready(self) -> None:
        """The work has begun: from now on silence means trouble; a machine without a thread for this is silent too."""
        tell_supervisor(READY, self._environ)
        if self._pause_ms:
            with contextlib.suppress(RuntimeError):
                self._stepper.start()

    def stopping(self, drain_s: float) -> None:
        """The end has begun; it may take as long as the settings say now, if the unit allows less."""
        tell_supervisor(STOPPING, self._environ)
        tell_supervisor(MORE_TIME.format(round((drain_s + STOP_MORE_S) * 1_000_000)), self._environ)

    def close(self) -> None:
        """Feed no more."""
        self._stepper.stop()

    def _feed(self) -> int:
        if self._is_well():
            tell_supervisor(ALIVE, self._environ)
        return self._pause_ms
