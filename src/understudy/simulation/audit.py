"""Looks into the store from time to time: rows agree with each other and with what the oracle remembers."""

from __future__ import annotations

from collections import Counter

import msgspec

from understudy.coordinator.hearing import hear
from understudy.coordinator.leases import attempts_of
from understudy.coordinator.nouns import FINISHED, LEASED, QUEUED, Attempt, Hearing, Now, Policy, Result, Task
from understudy.simulation.ledger import CANCELLED, DONE, FAILED, OPEN, Entry, Ledger
from understudy.simulation.world import ViolationError, World
from understudy.store.base import EventFilter, Reader, Store
from understudy.store.check import check

ROWS_MAX = 10_000
LOOK_MS = 65_000  # the alarm sleeps at most 60 s, also when the wall clock has jumped
STUCK_MS = 3_000  # how late the alarm may be before something is called stuck
ENDS = frozenset(
    ("lease.expired", "lease.lost", "lease.released", "task.done", "task.failed", "task.retrying", "task.cancelled")
)
STATUS_OF = {OPEN: (QUEUED, LEASED), DONE: ("done",), FAILED: ("failed",), CANCELLED: ("cancelled",)}


class Audit:
    """Reads everything; raises on the first row that is wrong."""

    def __init__(self, world: World, store: Store, ledger: Ledger, policy: Policy) -> None:
        self._world = world
        self._store = store
        self._ledger = ledger
        self._policy = policy

    def check(self, *, steady: bool) -> None:
        """All invariants over the store; what depends on the alarm only while the hub has been up for a while."""
        self._store.read(lambda reader: self._check(reader, steady=steady))

    def _check(self, reader: Reader, *, steady: bool) -> None:
        tasks = {task.id: task for task in reader.load_all(Task, ROWS_MAX)}
        results = {result.task_id: result for result in reader.load_all(Result, ROWS_MAX)}
        attempts: dict[str, list[Attempt]] = {}
        for attempt in reader.load_all(Attempt, ROWS_MAX):
            attempts.setdefault(attempt.task_id, []).append(attempt)
        if tasks.keys() != self._ledger.tasks.keys():
            raise ViolationError("I5 acknowledged is kept", str(tasks.keys() ^ self._ledger.tasks.keys()))
        (hearing,) = reader.load_many(Hearing, (1,))
        now = hear(hearing, self._world.clock.now_ms())[1]
        for task in tasks.values():
            entry = self._ledger.tasks[task.id]
            self._check_task(task, entry, results.get(task.id))
            self._check_attempts(task, entry, attempts_of(task, attempts.get(task.id, [])))
            if steady:
                self._check_not_stuck(task, now)

    def _check_task(self, task: Task, entry: Entry, result: Result | None) -> None:
        if task.status not in STATUS_OF[entry.status]:
            _wrong("I5 acknowledged is kept", task, f"is {task.status}, acknowledged as {entry.status}")
        if (task.status in FINISHED) != (result is not None):
            _wrong("I1 one result for each end", task, f"is {task.status} with result {result}")
        if task.waiting_for != entry.reserved_for:
            _wrong("I9 begun work waits for its machine", task, f"{task.waiting_for!r}, not {entry.reserved_for!r}")
        is_held = entry.status == OPEN and entry.lease is not None and not entry.lease.ended
        if (task.status == LEASED) != is_held:
            _wrong("leases are as they were told", task, f"is {task.status}, {'held' if is_held else 'not held'}")
        if task.losses != entry.losses or entry.losses_untold or task.losses > self._policy.losses_max + entry.revived:
            _wrong("I8 losses are counted", task, f"has {task.losses} losses, {entry.losses} were told")
        if task.attempts != entry.failures:
            _wrong("I8 attempts are counted", task, f"has {task.attempts} failures, {entry.failures} were told")
        if entry.status == DONE and result is not None:
            self._check_output(task, entry, result)
        if entry.status == CANCELLED and result is not None and result.success:
            _wrong("I10 a cancel is final", task, "shows a success")

    @staticmethod
    def _check_output(task: Task, entry: Entry, result: Result) -> None:
        output = msgspec.json.decode(result.output) if result.output else None
        if not result.success or output != entry.output:
            _wrong("I4 the accepted result is the stored one", task, f"{output!r}, accepted was {entry.output!r}")

    @staticmethod
    def _check_attempts(task: Task, entry: Entry, attempts: list[Attempt]) -> None:
        tokens = [attempt.token for attempt in attempts]
        if tokens != sorted(set(tokens)) or tokens != [lease.token for lease in entry.leases]:
            _wrong("I3 tokens grow", task, f"{tokens}, granted were {[lease.token for lease in entry.leases]}")
        still_open = [attempt.token for attempt in attempts if not attempt.outcome]
        if still_open != ([task.token] if task.status == LEASED else []):
            _wrong("attempts and task agree", task, f"is {task.status}, open attempts {still_open}")
        if attempts and (attempts[-1].token != task.token or attempts[-1].outcome != task.ended):
            _wrong("attempts and task agree", task, f"ended {task.ended!r}, its attempt {attempts[-1].outcome!r}")

    def _check_not_stuck(self, task: Task, now: Now) -> None:
        """Everything unfinished is claimable, due later, waiting for somebody, or leased with an end to come."""
        if task.status == LEASED and task.expires_h <= now.h - STUCK_MS:
            _wrong("nothing is stuck", task, f"its lease ended {now.h - task.expires_h} ms ago")
        is_delayed = task.status == QUEUED and not task.ready and not task.waiting_for
        has_looked = self._world.now_ms - self._ledger.jumped_ms > LOOK_MS
        if is_delayed and has_looked and task.available_at <= now.wall - STUCK_MS:
            _wrong("nothing is stuck", task, f"has been due for {now.wall - task.available_at} ms")

    def check_rows(self) -> None:
        """The invariants that `understudy store check` asks of any store hold for this one."""
        report = self._store.read(lambda reader: check(reader, self._world.clock))
        for fault in report.faults:
            raise ViolationError(
                "I14 the rows of the store agree", f"{fault.name}: {fault.key} {fault.facts}", fault.key
            )
        if report.unreadable:
            raise ViolationError("I14 the rows of the store agree", str(report.unreadable[0]))

    def check_story(self) -> None:
        """Each grant but the latest has an event that reports its end, and each late result has an event."""
        self._store.read(self._check_story)

    def _check_story(self, reader: Reader) -> None:
        for entry in self._ledger.tasks.values():
            events = [stored.event for stored in reader.list_events(EventFilter(task_id=entry.id, limit=ROWS_MAX))]
            reported = Counter(event.fields.get("token") for event in events if event.name in ENDS)
            for lease in entry.leases[:-1]:
                if not reported[lease.token]:
                    said = f"{entry.id}: no event tells how {lease.token} ended"
                    raise ViolationError("I13 every loss has an event", said, entry.id)
            late = sum(event.name == "result.late" for event in events)
            if late < entry.late:
                said = f"{entry.id}: {entry.late} results came too late, {late} events"
                raise ViolationError("I13 every late result has an event", said, entry.id)


def _wrong(invariant: str, task: Task, what: str) -> None:
    raise ViolationError(invariant, f"{task.id} {what}", task.id)
