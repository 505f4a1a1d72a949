"""The oracle's part about results: which must count, which must not, and what a failure leads to."""

from __future__ import annotations

from typing import Any

from understudy.simulation.ledger import CANCELLED, DONE, FAILED, OPEN, Entry, Ledger
from understudy.simulation.world import ViolationError

STILL_COUNTS = ("", "expired", "lost", "released")  # while nobody else has the task
BACKOFF_MS_MIN, BACKOFF_MS_MAX = 8_000, 480_000  # 10 s × 2ⁿ, at most 10 min, less a fifth


class Verdicts:
    """Judges the hub's judgement of results."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def judge(self, task_id: str, body: dict[str, Any], reported: dict[str, Any]) -> bool:
        """One result and what the hub said to it → whether it was applied."""
        entry = self._ledger.tasks.get(task_id)
        if entry is None:
            if reported.get("success"):
                raise ViolationError("I5 acknowledged is kept", f"a result for unknown {task_id}", task_id)
            return False
        is_applied = bool(reported.get("success")) and not reported.get("duplicate")
        token = body.get("token")
        if token is None:
            self._check_legacy(entry, body, is_applied=is_applied)
        else:
            self._check(entry, int(token), body, reported, is_applied=is_applied)
        if is_applied:
            self._apply(entry, body)
        elif token is None or not reported.get("success") or (entry.status == CANCELLED and _is_success(body)):
            entry.late += 1
        return is_applied

    def _check(
        self, entry: Entry, token: int, body: dict[str, Any], reported: dict[str, Any], *, is_applied: bool
    ) -> None:
        lease = entry.lease
        is_newest = lease is not None and token == lease.token
        if is_applied and not is_newest:
            raise ViolationError("I4 an old token changes nothing", f"{entry.id} result of {token}", entry.id)
        if is_applied and token in entry.accepted:
            raise ViolationError("I6 replays are idempotent", f"{entry.id} {token} applied twice", entry.id)
        may_succeed = entry.status == FAILED and entry.timed_out == token and _is_success(body)
        if is_applied and entry.status != OPEN and not (entry.is_poisoned or may_succeed):
            raise ViolationError("I7 I10 an end is final", f"{entry.id} is {entry.status}", entry.id)
        if is_applied and lease is not None and lease.ended == "settled" and not _is_success(body):
            raise ViolationError("I8 an attempt fails once", f"{entry.id} {token} failed again", entry.id)
        if not is_applied and is_newest and entry.status == OPEN and lease is not None and lease.ended in STILL_COUNTS:
            raise ViolationError("I1 a result in time counts", f"{entry.id} {token} refused: {reported}", entry.id)
        if not is_applied and is_newest and may_succeed:
            raise ViolationError("I1 a result in time counts", f"{entry.id} {token} refused: {reported}", entry.id)
        if not is_applied and is_newest and token in entry.accepted and not reported.get("success"):
            raise ViolationError("I6 replays are idempotent", f"{entry.id} {token} again: {reported}", entry.id)

    def _check_legacy(self, entry: Entry, body: dict[str, Any], *, is_applied: bool) -> None:
        lease = entry.lease
        is_his = lease is not None and lease.is_old and body.get("workerId") in (None, "", lease.worker)
        if is_applied and not (is_his and entry.status == OPEN):
            raise ViolationError("I4 without a token only the old way", f"{entry.id} is {entry.status}", entry.id)
        if not is_applied and is_his and self._ledger.is_live(entry):
            raise ViolationError("I1 a result in time counts", f"{entry.id} refused the old way", entry.id)

    def _apply(self, entry: Entry, body: dict[str, Any]) -> None:
        lease = entry.lease
        assert lease is not None
        lease.ended = "settled"
        entry.accepted.add(lease.token)
        if _is_success(body):
            entry.status, entry.output, entry.reserved_for = DONE, body.get("output"), ""
            return
        failure = body.get("failure") or {}
        self.count_failure(entry, is_final=bool(failure.get("final")))

    def count_failure(self, entry: Entry, *, is_final: bool) -> None:
        """One attempt failed: for good, or it is tried again after a pause."""
        entry.failures += 1
        if entry.failures > entry.attempts_max:
            raise ViolationError("I8 attempts are bounded", f"{entry.id} failed {entry.failures} times", entry.id)
        entry.revived += entry.is_poisoned
        is_over = is_final or entry.failures == entry.attempts_max
        entry.status, entry.is_poisoned = FAILED if is_over else OPEN, False
        pause_ms = min(BACKOFF_MS_MIN * 2 ** (entry.failures - 1), BACKOFF_MS_MAX)
        entry.not_before_at = 0 if is_over else self._ledger.world.clock.now_ms() + pause_ms
        self._ledger.free(entry)


def _is_success(body: dict[str, Any]) -> bool:
    """Old daemons say it by `status`."""
    return bool(body["success"]) if "success" in body else body.get("status") == "completed"
