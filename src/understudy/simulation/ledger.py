"""The memory of the oracle: every task, every granted lease, every boot, and its own count of time.

Times in the ledger are *heard* ms: elapsed time without the time in which no hub could hear. A hub may count less (a
jump of its wall clock costs it a moment), never more. So a lease that is over here is over at the earliest: the hub may
end it later.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from understudy.simulation.world import ViolationError, World

GAP_MIN_MS = 2_000  # hearing time: what is not heard for longer is not counted
OPEN, DONE, FAILED, CANCELLED = "open", "done", "failed", "cancelled"
WAITS = ("wait", "ask")


class LeaseSeen:
    """One grant, as its answer reported it."""

    def __init__(self, body: dict[str, Any], reported: dict[str, Any], *, expires: int, hard_end: int) -> None:
        self.is_old = "token" not in reported
        self.token = int(reported.get("token", 0))  # of a legacy client's lease: as the event reported it
        self.worker = str(reported["workerId"])
        self.daemon = str(body.get("daemonId") or "")
        self.boot = str(body.get("bootId") or "")
        self.request = str(body.get("requestId") or "")
        self.on_loss = str(reported.get("onLoss", ""))
        self.duration_ms = round(float(reported.get("durationSec", 0)) * 1000)
        self.expires = expires
        self.hard_end = hard_end
        self.is_named = False  # a beat or renewal with its token was accepted
        self.ended = ""  # "" while held, else expired, lost, released, settled or cancelled

    @property
    def holder(self) -> str:
        """The daemon that may claim a task that waits for its machine."""
        return self.daemon or self.worker


class Entry:
    """One task from its enqueue to its end."""

    def __init__(self, task_id: str, body: dict[str, Any]) -> None:
        self.id = task_id
        needs = body.get("needs")
        self.needs = frozenset(("machine",) if needs is None else needs)
        self.on_loss = str(body.get("onLoss") or "")
        self.attempts_max = int(body.get("maxAttempts") or 1)
        self.timeout_ms = int(body.get("timeoutSec") or 3600) * 1000
        self.status = OPEN
        self.is_poisoned = False
        self.timed_out = 0  # token of the lease that the alarm ended at its time limit
        self.revived = 0  # poisoned, then a failure of its last lease came after all
        self.leases: list[LeaseSeen] = []
        self.failures = 0
        self.losses = 0
        self.losses_untold = 0  # leases that were lost, without an event about it so far
        self.has_begun = False  # somebody started it under `wait`, and nobody has moved it since
        self.had_begun = False  # the same before the latest lease
        self.reserved_for = ""
        self.not_before_at = 0  # hub's wall clock
        self.output: Any = None
        self.accepted: set[int] = set()  # tokens whose result was applied
        self.late = 0  # results that came too late
        self.hand_ms = -1  # when an owner last retried or moved it

    @property
    def lease(self) -> LeaseSeen | None:
        """The latest one."""
        return self.leases[-1] if self.leases else None


def must_be(entry: Entry, status: str) -> None:
    """ViolationError unless the task has this status: ends are final."""
    if entry.status != status:
        raise ViolationError("I7 I10 an end is final", f"{entry.id} is {entry.status}, not {status}", entry.id)


class Boots:
    """The starts of one daemon as the hub accepted them."""

    def __init__(self) -> None:
        self.current = ""
        self.old: set[str] = set()
        self.seq = 0


class Ledger:
    """All of it, and the time."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.tasks: dict[str, Entry] = {}
        self.dedups: dict[str, str] = {}
        self.requests: dict[str, list[tuple[Entry, LeaseSeen]]] = defaultdict(list)
        self.boots: dict[str, Boots] = defaultdict(Boots)
        self._deaf_ms = 0
        self.resumed_ms = 0  # when the hub last began to hear again
        self.refused_until_ms = 0  # it refused a sign of life by its own fault: until then silence may not count
        self.has_jumped = False  # a jump that no batch has seen yet
        self.jumped_ms = 0
        self.may_gap = True
        self._unnoticed_ms = GAP_MIN_MS  # the longest absence that counts as heard
        self.behind_ms = 0

    def may_sleep(self, sleeps_ms: int, behind_ms: int) -> None:
        """The hub is put to sleep on purpose for so long: while it may sleep, its absence cannot be noticed.

        Its clock may be a little behind.
        """
        self._unnoticed_ms = GAP_MIN_MS + sleeps_ms
        self.behind_ms = behind_ms

    def heard(self) -> int:
        """The hearing time that the hub can have counted so far."""
        return self.world.now_ms - self._deaf_ms

    def hears_again(self, since_ms: int) -> None:
        """The hub was out since then."""
        passed = self.world.now_ms - since_ms
        self.may_gap = True
        if passed > self._unnoticed_ms:
            self._deaf_ms += passed - (self._unnoticed_ms if self.has_jumped else 0)
            self.resumed_ms = self.world.now_ms

    def jump(self, ms: int) -> None:
        """Move the hub's wall clock; what has come due by then stays due, and pauses move with a clock set back.

        Of a clock set ahead a hub that was off cannot know, so then pauses may end early.
        """
        wall = self.world.clock.now_ms()
        for entry in self.tasks.values():
            if wall >= entry.not_before_at:
                entry.not_before_at = 0
            else:
                entry.not_before_at += min(ms, 0)
        self.world.clock.jump(ms)
        self.has_jumped = self.may_gap = True
        self.jumped_ms = self.world.now_ms

    def entry(self, task_id: str) -> Entry:
        """A task that must be known by now."""
        if task_id not in self.tasks:
            raise ViolationError("I5 acknowledged is kept", f"{task_id} was never enqueued", task_id)
        return self.tasks[task_id]

    def is_live(self, entry: Entry) -> bool:
        """True if the task's latest lease is certainly held."""
        lease = entry.lease
        return lease is not None and entry.status == OPEN and not lease.ended and self.heard() < lease.expires

    def end(self, entry: Entry, how: str, reason: str = "") -> None:
        """The latest lease is over without a result."""
        lease = entry.lease
        assert lease is not None
        lease.ended = how
        entry.losses_untold += how == "lost"
        if how in ("expired", "lost", "released") and lease.on_loss in WAITS:
            if reason == "not_started":  # a beat may have named it already: its process could not be started
                entry.has_begun = entry.had_begun
            entry.reserved_for = lease.holder if entry.has_begun else ""

    def named(self, entry: Entry, expires: int) -> None:
        """A renewal of the latest lease was accepted."""
        lease = entry.lease
        assert lease is not None
        lease.ended, lease.is_named = "", True
        lease.expires = min(expires, lease.hard_end)
        entry.reserved_for = ""
        entry.has_begun = entry.has_begun or lease.on_loss in WAITS

    def free(self, entry: Entry) -> None:
        """From here on anybody may have it: nothing of it has begun."""
        entry.has_begun = entry.had_begun = False
        entry.reserved_for = ""
