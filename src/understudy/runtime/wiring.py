"""The loops of a hub beside its alarm, made of its inputs: a host starts each in its own way, in a thread or in turns.

Only what a hub needs is imported, because some hosts start it often.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from msgspec import Struct

from understudy.clock import Clock
from understudy.config.policy import HubInputs
from understudy.coordinator.takeover import is_switched_on
from understudy.hub.batch import Committed
from understudy.hub.delivery import LOOK_EVERY_MS, LOOK_EVERY_MS_SHARED, Delivery
from understudy.hub.steps import Steps
from understudy.log import Log
from understudy.notify.channels import CHANNELS
from understudy.runtime.troubles import OnTrouble, Troubles


class Loop(Struct, frozen=True):
    """One loop: a commit after which `is_concerned` is true makes its next step due."""

    name: str
    step: Callable[[], Steps]
    on_trouble: OnTrouble
    is_concerned: Callable[[Committed], bool] = lambda _: False


class Wiring:
    """Makes them."""

    def __init__(self, given: HubInputs, clock: Clock, log: Log, troubles: Troubles, *, is_shared: bool) -> None:
        self._given = given
        self._clock = clock
        self._log = log
        self._troubles = troubles
        self._is_shared = is_shared

    def deliveries(self) -> dict[str, Loop]:
        """One for each channel, by its name."""
        clean, routes = self._log.redactor.clean, self._given.policy.routes
        every_ms = LOOK_EVERY_MS_SHARED if self._is_shared else LOOK_EVERY_MS
        loops: dict[str, Loop] = {}
        for channel in self._given.channels:
            kind, name = CHANNELS[channel.kind], channel.name
            delivery = Delivery(channel, kind, routes, self._clock, clean, look_every_ms=every_ms)
            loops[name] = Loop(f"to {name}", delivery.step, self._troubles.channel(name), partial(_is_due, name))
        return loops

    def watchdog(self, alarm_is_silent_for_ms: Callable[[], int], longest_pause_ms: Callable[[], int]) -> Loop | None:
        """The one that pings a watchdog outside; None: there is none."""
        settings = self._given.settings
        if not settings.watchdog_url:
            return None
        from understudy.hub.watchdog import OutsideWatchdog, SignsOfLife  # noqa: PLC0415 - see above

        signs = SignsOfLife(alarm_is_silent_for_ms, longest_pause_ms)
        watchdog = OutsideWatchdog(settings.watchdog_url, settings.watchdog_interval_ms, signs, self._log)
        return Loop("ping", watchdog.step, self._troubles.bug)

    def takeover(self, worker_id: str) -> Loop | None:
        """The one that steps in; None: no owner has switched it on."""
        given = self._given
        if not is_switched_on(given.policy.takeover):
            return None
        from understudy.hub.takeover_loop import TakeoverLoop  # noqa: PLC0415 - see above

        clean, probe_url = self._log.redactor.clean, given.settings.probe_url
        loop = TakeoverLoop(
            worker_id, given.claude, self._clock, probe_url=probe_url, clean=clean, is_shared=self._is_shared
        )
        return Loop("takeover", loop.step, self._troubles.takeover, loop.is_concerned)


def _is_due(channel: str, committed: Committed) -> bool:
    return channel in committed.due
