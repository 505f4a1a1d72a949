"""The oracle's part about events: what the hub tells must have happened, and must have had a cause."""

from __future__ import annotations

from typing import Any

from understudy.coordinator.nouns import Policy
from understudy.hub.batch import Committed
from understudy.simulation.ledger import FAILED, OPEN, Entry, Ledger
from understudy.simulation.verdicts import Verdicts
from understudy.simulation.watch import Watch
from understudy.simulation.world import ViolationError


class Events:
    """Judges the event log as it grows."""

    def __init__(self, ledger: Ledger, verdicts: Verdicts, watch: Watch, policy: Policy) -> None:
        self._ledger = ledger
        self._verdicts = verdicts
        self._watch = watch
        self._policy = policy
        self._explained: set[str] = set()
        self._refused: dict[str, str] = {}

    def explain(self, task_id: str) -> None:
        """This batch accepted a result or an owner's word about the task."""
        self._explained.add(task_id)
        self._refused.pop(task_id, None)

    def must_have_ended(self, task_id: str, what: str) -> None:
        """A cancel was refused: the task had ended, at the latest in this batch, whose events are still to come."""
        self._refused[task_id] = what

    def saw(self, committed: Committed) -> None:
        """The events of a commit, after its answers."""
        for stored in committed.events:
            event = stored.event
            if event.task_id:
                self._of_task(event.name, event.task_id, event.fields)
            else:
                self._watch.reported(event.name, event.fields)
        for task_id, what in self._refused.items():
            if self._ledger.tasks[task_id].status == OPEN:
                raise ViolationError("I10 a cancel is final", what, task_id)
        self._refused.clear()
        self._explained.clear()
        self._ledger.may_gap = False

    def _of_task(self, name: str, task_id: str, fields: dict[str, Any]) -> None:
        entry = self._ledger.tasks.get(task_id)
        if entry is None:
            return
        if name == "task.claimed":
            self._token_reported(entry, fields["token"])
        elif name in ("lease.expired", "lease.lost"):
            self._lost(entry, name, fields["token"])
        elif name in ("task.failed", "task.retrying") and task_id not in self._explained:
            if fields.get("outcome") == "poison":
                self._poisoned(entry)
            else:
                self._timed_out(entry)

    @staticmethod
    def _token_reported(entry: Entry, token: int) -> None:
        """Legacy clients do not get their token; the event has it."""
        if any(lease.token == token for lease in entry.leases):
            return
        for nth, lease in enumerate(entry.leases):
            if lease.is_old and not lease.token:
                lease.token = token
                if nth and token <= entry.leases[nth - 1].token:
                    raise ViolationError("I3 tokens grow", f"{entry.id} {token}", entry.id)
                return

    def _lost(self, entry: Entry, name: str, token: int) -> None:
        entry.losses += 1
        if name == "lease.lost":
            entry.losses_untold -= 1
            if entry.losses_untold < 0:
                raise ViolationError("a lease is lost for a reason", f"{entry.id} {token}", entry.id)
        lease = entry.lease
        if name == "lease.expired" and lease is not None and lease.token == token and not lease.ended:
            if self._ledger.heard() < lease.expires:
                left = lease.expires - self._ledger.heard()
                raise ViolationError("I2 a lease lasts as told", f"{entry.id} {token} had {left} ms left", entry.id)
            self._ledger.end(entry, "expired")

    def _poisoned(self, entry: Entry) -> None:
        if entry.losses != self._policy.losses_max + entry.revived:
            raise ViolationError("I8 poison is a number of losses", f"{entry.id} lost {entry.losses}", entry.id)
        entry.status, entry.is_poisoned, entry.reserved_for = FAILED, True, ""

    def _timed_out(self, entry: Entry) -> None:
        lease = entry.lease
        if lease is None or self._ledger.heard() < lease.hard_end:
            raise ViolationError("a failure has a cause", f"{entry.id} failed by itself", entry.id)
        lease.ended, entry.timed_out = "settled", lease.token
        self._verdicts.count_failure(entry, is_final=False)
