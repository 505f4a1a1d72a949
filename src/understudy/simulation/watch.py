"""The oracle's part about health: no living daemon is reported, every dead one is, in time."""

from __future__ import annotations

import re
from typing import Any

from understudy.coordinator.nouns import Policy
from understudy.simulation.ledger import Ledger
from understudy.simulation.world import ViolationError

_START_TIME = re.compile(r"_\d{13}$")  # old daemons put the instant of their start at the end
GRACE_MS = 30_000  # after a gap nobody is judged earlier, unless the limit itself is smaller
UNKNOWN_INTERVAL_MS = 150_000
SLACK_MS = 3_000
DEAF = ("claim", "report")  # loops that are measured by answers, which bad weather keeps from them


class WatchedDaemon:
    """One daemon as the hub can know it."""

    def __init__(self) -> None:
        self.is_bound = False  # to a machine: only its beats are signs of life
        self.is_away = False  # its stop was announced, without an end
        self.said = ""  # its state, in its last beat
        self.quiet_ms = 0  # its stop was announced: for this time
        self.interval_ms = 0
        self.seen_heard = 0  # the last sign that certainly counts
        self.seen_ms = 0
        self.maybe_ms = 0  # the last request that may have counted
        self.reported = ""


class Watch:
    """Knows when each daemon was last heard of."""

    def __init__(self, ledger: Ledger, policy: Policy) -> None:
        self._ledger = ledger
        self._policy = policy
        self.is_calm = False  # whether every request is answered
        self.watched: dict[str, WatchedDaemon] = {}
        self._gave_way: set[str] = set()  # directives that ended a life
        self._ended: set[str] = set()  # directives

    def heard_of(self, sender: str) -> None:
        """Any request of it was decided."""
        known = self.watched.get(_START_TIME.sub("", sender))
        if known is not None:
            known.maybe_ms = self._ledger.world.now_ms

    def sign(self, sender: str) -> None:
        """A claim, renewal or beat was accepted."""
        known = self.watched.get(_START_TIME.sub("", sender))
        if known is not None and not known.is_bound:
            self._seen(known)

    def beat(self, sender: str, body: dict[str, Any]) -> None:
        """A heartbeat was accepted: from now on it is watched."""
        known = self.watched.setdefault(body.get("daemonId") or _START_TIME.sub("", sender), WatchedDaemon())
        known.is_bound = known.is_bound or bool(body.get("machineId"))
        known.interval_ms = round(body.get("intervalSec", 0) * 1000)
        planned = body.get("plannedForSec") if body.get("state") == "stopping" else None
        known.said = body.get("state") or ""
        known.is_away = planned == 0
        known.quiet_ms = round((planned or 0) * 1000)
        self._seen(known)

    def _seen(self, known: WatchedDaemon) -> None:
        world = self._ledger.world
        known.seen_heard, known.seen_ms, known.maybe_ms = self._ledger.heard(), world.now_ms, world.now_ms
        known.reported = ""

    def reported(self, name: str, fields: dict[str, Any]) -> None:
        """The hub said something about a daemon, or about itself."""
        world = self._ledger.world
        if name == "hub.gap":
            if not self._ledger.may_gap and world.now_ms > self._ledger.refused_until_ms + SLACK_MS:
                raise ViolationError("a gap is only what was not heard", str(fields))
            self._ledger.resumed_ms = world.now_ms
        if name == "daemon.stuck" and (self.is_calm or fields.get("what") not in DEAF):
            raise ViolationError("a working daemon is not called stuck", str(fields), fields["daemonId"])
        if name in ("directive.done", "directive.failed", "directive.expired"):
            self._directive_ended(fields["directiveId"], fields["daemonId"])
        if name not in ("daemon.late", "daemon.down"):
            return
        known = self.watched.get(fields["daemonId"])
        if known is None:
            raise ViolationError("a never-seen daemon makes no alarm", str(fields))
        limit_ms, grace_ms = self._limits(known)[name.removeprefix("daemon.")]
        silent_ms = self._ledger.heard() - known.seen_heard - known.quiet_ms
        resumed_ms = self._ledger.resumed_ms
        is_graced = known.seen_ms < resumed_ms and world.now_ms < resumed_ms + grace_ms - self._ledger.behind_ms
        # one grace a silence, an announced one included, however often the hub stalls
        is_graced = is_graced and silent_ms + known.quiet_ms < limit_ms + grace_ms
        if silent_ms < limit_ms or is_graced or known.is_away:
            said = f"{name} after {silent_ms} ms of silence"
            raise ViolationError("a living daemon is not reported", said, fields["daemonId"])
        known.reported = name.removeprefix("daemon.")

    def gave_way(self, daemon: str, directive_id: str) -> None:
        """A life ended because of a directive."""
        if directive_id in self._gave_way:
            raise ViolationError("a directive is done once", f"{daemon} {directive_id}", daemon)
        self._gave_way.add(directive_id)

    def _directive_ended(self, directive_id: str, daemon: str) -> None:
        if directive_id in self._ended:
            raise ViolationError("a directive ends once", f"{daemon} {directive_id}", daemon)
        self._ended.add(directive_id)

    def _limits(self, known: WatchedDaemon) -> dict[str, tuple[int, int]]:
        policy = self._policy
        late_ms = max(policy.late_after_ms, 2 * known.interval_ms)
        down_ms = late_ms + policy.down_after_ms - policy.late_after_ms
        beats_ms = 2 * (known.interval_ms or UNKNOWN_INTERVAL_MS)
        return {
            "late": (late_ms, max(beats_ms, min(GRACE_MS, late_ms))),
            "down": (down_ms, max(beats_ms, min(GRACE_MS, down_ms))),
        }

    def check(self) -> None:
        """Daemons that have been silent for too long must have been reported by now."""
        now_ms = self._ledger.world.now_ms
        resumed_ms = max(self._ledger.resumed_ms, self._ledger.refused_until_ms)
        for name, known in self.watched.items():
            limit_ms, grace_ms = self._limits(known)["down"]
            due_ms = known.maybe_ms + known.quiet_ms + limit_ms
            if known.maybe_ms < resumed_ms:
                due_ms = max(due_ms, resumed_ms + known.quiet_ms + max(limit_ms, grace_ms))
            if not known.is_away and now_ms > due_ms + SLACK_MS and known.reported != "down":
                said = f"{name} silent since {known.maybe_ms} ms, told {known.reported!r}"
                raise ViolationError("a dead daemon is reported", said, name)
