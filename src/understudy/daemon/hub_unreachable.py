"""The daemon itself sends a notice that its hub is out of reach: perhaps nobody else is left to send one."""

from __future__ import annotations

from understudy.clock import MS_PER_S
from understudy.spans import span
from understudy.texts import t
from understudy.worker.effects import Loop, NotifyOwner, WriteLog

SLEPT_MS_MIN = 2_000  # clocks differ by less when nobody sleeps


class HubAway:
    """One notice when no heartbeat was accepted for this time, one when the hub is back; a sleep begins it anew.

    `alarms` are the open ones of this daemon. One that an earlier life has sent, perhaps in vain, is sent again if the
    hub stays away, and ended when it is back.
    """

    def __init__(
        self, after_ms: int, daemon_id: str, now_ms: int, slept_ms: int = 0, *, alarms: set[str] | None = None
    ) -> None:
        self._after_ms = after_ms
        self._daemon = daemon_id
        self._about = f"hub-away:{daemon_id}"
        self._heard_ms = now_ms
        self._slept_ms = slept_ms  # in all, when the machine last heard or woke
        self._is_reported = False
        self._alarms = set() if alarms is None else alarms

    def missed(self, now_ms: int, slept_ms: int = 0) -> Loop:
        """A beat was not accepted; `slept_ms` is how long the machine has slept in all: it heard nothing meanwhile."""
        if slept_ms - self._slept_ms >= SLEPT_MS_MIN:
            self._heard_ms, self._slept_ms = now_ms, slept_ms
        away_ms = now_ms - self._heard_ms
        if self._is_reported or not self._after_ms or away_ms < self._after_ms:
            return
        self._is_reported = True
        self._alarms.add(self._about)
        text = t("daemon.hub_away.text", daemon=self._daemon, span=span(away_ms))
        yield WriteLog("critical", "Heartbeat", "Hub out of reach", {"forSec": away_ms / MS_PER_S})
        yield NotifyOwner("critical", t("daemon.hub_away.title", daemon=self._daemon), text, self._about)

    def heard(self, now_ms: int, slept_ms: int = 0) -> Loop:
        """A beat was accepted."""
        self._heard_ms, self._slept_ms = now_ms, slept_ms
        self._is_reported = False
        if self._about in self._alarms:
            self._alarms.discard(self._about)
            yield WriteLog("info", "Heartbeat", "Hub in reach again")
            title = t("daemon.hub_back.title", daemon=self._daemon)
            yield NotifyOwner("recovered", title, t("daemon.hub_back.text"), self._about)
