"""The outside watchdog: requests to an address, regularly, but only while alarm, store and outbox are proven alive.

When the hub, its machine or its network is gone, the requests stop, and the service behind that address says so.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

from msgspec import Struct

from understudy.errors import UnderstudyError
from understudy.hub.starts import ProbeStore
from understudy.hub.steps import Effect, Steps
from understudy.log import Log
from understudy.wire.outbound import HttpAnswer, HttpRequest, NoAnswer

ALARM_STALE_MS = 65_000  # it looks at the latest every 60 s
OUTBOX_STALE_MS = 150_000  # a channel looks every 30 s, and a message of several parts may take a while
TIMEOUT_MS = 10_000


class SignsOfLife(Struct, frozen=True):
    """The time in ms since each part of this hub last did something."""

    since_ring_ms: Callable[[], int]
    since_delivery_ms: Callable[[], int]  # of the channel that has been quiet for longest


class OutsideWatchdog:
    """One request per interval to the service that watches this hub from outside."""

    def __init__(self, url: str, interval_ms: int, signs: SignsOfLife, log: Log) -> None:
        self._url = url
        self._interval_ms = interval_ms
        self._signs = signs
        self._log = log

    def step(self) -> Steps:
        """Look, and send the request if all is well."""
        trouble = yield from self._trouble()
        if trouble:
            self._log.emit("critical", "Watchdog", f"The outside watchdog was not told: {trouble}")
        else:
            yield from self._tell()
        return self._interval_ms

    def _tell(self) -> Generator[Effect, Any, None]:
        answer: HttpAnswer | NoAnswer = yield HttpRequest("GET", self._url, timeout_ms=TIMEOUT_MS)
        if isinstance(answer, NoAnswer) and answer.begun is not None:
            answer = answer.begun  # its status says all
        if isinstance(answer, NoAnswer):
            self._log.emit("warning", "Watchdog", f"The outside watchdog did not take it: {answer.reason}")
        elif not 200 <= answer.status < 300:  # noqa: PLR2004 - any success
            self._log.emit("warning", "Watchdog", f"The outside watchdog did not take it: status {answer.status}")

    def _trouble(self) -> Generator[Effect, Any, str]:
        """The part of the hub that could not be proven alive just now; "" if there is none."""
        try:
            yield ProbeStore()
        except (UnderstudyError, TimeoutError) as error:
            return f"the store takes no write ({error})"
        except Exception as error:  # noqa: BLE001 - whatever it is, the watchdog must not learn that all is well
            return f"{type(error).__name__}: {error}"
        if self._signs.since_ring_ms() > ALARM_STALE_MS:
            return "the alarm has not rung"
        if self._signs.since_delivery_ms() > OUTBOX_STALE_MS:
            return "a channel of the outbox stands still"
        return ""
