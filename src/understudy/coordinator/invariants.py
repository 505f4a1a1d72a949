"""The invariants of the rows of a store, true at any instant; each one that is broken is a Fault.

Theory of operation
-------------------
The rules of this room leave every row in a state that a later rule can go on from. Here this is said once more, about
rows alone, so that a store can be proven sound in place, after a copy, or at the end of a simulated world:

1. Nothing is stuck. A task that is not finished is claimable, delayed, reserved for a daemon because its lease ended,
   or leased with a deadline. While a hub listens no deadline is long past.
2. Tokens only grow. The latest lease has an attempt once it has ended, no attempt has a greater token, and only a held
   lease may have one without an outcome: older versions wrote it when the task was claimed.
3. A task has its content, and exactly a finished one has a result.
4. What is counted is what is there: the use of each key, the open directives of a daemon, daemons by state.
5. Daemon and incident name each other; a notice that waits is about an incident that is there.

Doubts. A row that cannot be read counts here with its stand-ins (store/reading.py), so it may cause faults of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from msgspec import Struct

from understudy.coordinator.nouns import (
    FINISHED,
    LEASED,
    QUEUED,
    Attempt,
    Daemon,
    Hearing,
    Incident,
    Notice,
    Now,
    Period,
    Result,
    Task,
    Usage,
)

RESERVED_AFTER = frozenset({"expired", "lost", "released"})  # leases.py: only a lease that ended reserves a task
ALARM_LATE_MS = 65_000  # the alarm sleeps at most 60 s
TAKEN_MS_MAX = 600_000  # outbox.py TAKEN_MS, and what clocks may differ by
LISTENS_MS = 3_000  # a hub that listens writes each second (hearing.py)
STUCK = "stuck:"  # begins the incident_id of a notice about a daemon that is stuck


class Fault(Struct, frozen=True):
    """One thing that must not be; the text `store.fault.NAME` says it with these facts."""

    name: str
    key: str  # of the row
    facts: dict[str, str | int] = {}


class TaskRows(Struct, frozen=True):
    """All rows of one task id."""

    task: Task | None = None
    attempts: Sequence[Attempt] = ()  # in the order of their tokens
    result: Result | None = None
    has_body: bool = False
    others: Sequence[str] = ()  # names of other tables that have a row of it


class Instant(Struct, frozen=True):
    """The time of a look: `listens` if a hub was there just now, so that its alarm has done what is due."""

    now: Now
    listens: bool = False


def instant_of(hearing: Hearing, now: Now) -> Instant:
    """The time of a look at a store with this hearing row."""
    return Instant(now, not hearing.idle and 0 <= now.wall - hearing.heard_at <= LISTENS_MS)


def task_faults(task_id: str, rows: TaskRows, at: Instant) -> Iterator[Fault]:
    """The faults of one task."""
    task = rows.task
    if task is None:
        left = [*(["attempt"] if rows.attempts else []), *(["result"] if rows.result else []), *rows.others]
        yield Fault("task_missing", task_id, {"tables": ", ".join(left or ["task_body"])})
        return
    if not rows.has_body:
        yield Fault("no_body", task_id)
    if (task.status in FINISHED) != (rows.result is not None):
        yield Fault("no_result" if rows.result is None else "early_result", task_id, {"status": task.status})
    elif rows.result is not None and rows.result.token > task.token:
        yield Fault("token_behind", task_id, {"token": task.token, "other": rows.result.token})
    yield from _attempt_faults(task, rows.attempts)
    yield from _stuck(task, at)


def _attempt_faults(task: Task, attempts: Sequence[Attempt]) -> Iterator[Fault]:
    latest = attempts[-1] if attempts else None
    held = task.token if task.status == LEASED else 0
    if latest is not None and latest.token > task.token:
        yield Fault("token_behind", task.id, {"token": task.token, "other": latest.token})
    elif held:
        pass  # its row is written when it ends; one that was taken up again has the row of its end before
    elif task.token and (latest is None or latest.token != task.token):
        yield Fault("no_attempt", task.id, {"token": task.token})
    elif latest is not None and latest.outcome != task.ended:
        yield Fault("outcome_differs", task.id, {"ended": task.ended or "-", "outcome": latest.outcome or "-"})
    for attempt in attempts:
        if not attempt.outcome and attempt.token != held:
            yield Fault("open_attempt", task.id, {"token": attempt.token})


def _stuck(task: Task, at: Instant) -> Iterator[Fault]:
    """A task that nothing would ever move on, or that nothing has moved on although its time has come."""
    late_ms = 0
    if task.status == LEASED:
        if not task.expires_h or not task.token or (task.hard_end_h and task.expires_h > task.hard_end_h):
            yield Fault("lease_without_end", task.id)
        late_ms = at.now.h - task.expires_h
    elif task.status == QUEUED and task.waiting_for:
        if task.ready or task.ended not in RESERVED_AFTER:
            yield Fault("reserved_without_reason", task.id, {"daemon": task.waiting_for, "ended": task.ended or "-"})
    elif task.status == QUEUED and not task.ready:
        late_ms = at.now.wall - task.available_at
    elif task.status in FINISHED and (task.ready or task.waiting_for or not task.finished_at):
        yield Fault("not_quite_finished", task.id, {"status": task.status})
    if at.listens and late_ms > ALARM_LATE_MS:
        yield Fault("overdue", task.id, {"status": task.status, "seconds": late_ms // 1000})


class Shares:
    """The use of each key as the tasks say it, to be compared with the rows that count it."""

    def __init__(self) -> None:
        self._counted: dict[str, list[int]] = {}

    def add(self, task: Task) -> None:
        """Count a task."""
        counted = self._counted.setdefault(task.submitter, [0, 0])
        counted[0] += task.status not in FINISHED
        counted[1] += task.size_bytes

    def faults(self, usages: Iterable[Usage]) -> Iterator[Fault]:
        """Rows that say otherwise."""
        left = dict(self._counted)
        for usage in usages:
            tasks, size_bytes = left.pop(usage.submitter, (0, 0))
            if (usage.open_tasks, usage.size_bytes) != (tasks, size_bytes):
                yield _share_fault(usage, tasks, size_bytes)
        for submitter, (tasks, size_bytes) in left.items():
            yield _share_fault(Usage(submitter), tasks, size_bytes)


def _share_fault(usage: Usage, tasks: int, size_bytes: int) -> Fault:
    facts: dict[str, str | int] = {"tasks": usage.open_tasks, "bytes": usage.size_bytes}
    return Fault("usage_differs", usage.submitter, {**facts, "counted_tasks": tasks, "counted_bytes": size_bytes})


def daemon_faults(
    daemon: Daemon, incident: Incident | None, open_directives: int, superseded: Iterable[str]
) -> Iterator[Fault]:
    """The faults of a daemon; `incident` is the open one that it names, if that is there and open."""
    if daemon.incident_id and (incident is None or incident.daemon_id != daemon.id):
        yield Fault("no_incident", daemon.id, {"incident": daemon.incident_id})
    if daemon.open_directives != open_directives:
        yield Fault("directives_differ", daemon.id, {"said": daemon.open_directives, "counted": open_directives})
    if daemon.boot_id and daemon.boot_id in set(superseded):
        yield Fault("boot_superseded", daemon.id, {"boot": daemon.boot_id})


def state_faults(kept: Mapping[str, int], counted: Mapping[str, int]) -> Iterator[Fault]:
    """The faults of the numbers of daemons by state that are kept."""
    for state in sorted({*kept, *counted}):
        if kept.get(state, 0) != counted.get(state, 0):
            yield Fault("daemons_differ", state, {"said": kept.get(state, 0), "counted": counted.get(state, 0)})


def incident_faults(incident: Incident, daemon: Daemon | None) -> Iterator[Fault]:
    """The fault of an open incident that its daemon does not know: nothing would ever close it."""
    if incident.state != "recovered" and (daemon is None or daemon.incident_id != incident.id):
        yield Fault("incident_of_nobody", incident.id, {"daemon": incident.daemon_id})


def notice_faults(notice: Notice, incidents: Mapping[str, Incident], at: Instant) -> Iterator[Fault]:
    """The faults of a message that waits."""
    if notice.state != "waiting":
        return
    about = notice.incident_id
    if about and not about.startswith(STUCK) and about not in incidents:
        yield Fault("notice_without_incident", notice.id, {"incident": about})
    if notice.taken_until > at.now.wall + TAKEN_MS_MAX:
        yield Fault("notice_taken", notice.id, {"seconds": (notice.taken_until - at.now.wall) // 1000})


def period_faults(lasting: Period | None, period: Period) -> Iterator[Fault]:
    """The fault of a second stretch that lasts, `lasting` being the one before it that does.

    Where the clock was set back, the one that lasts may begin before others that have ended.
    """
    if lasting is not None and lasting.daemon_id == period.daemon_id and not period.to_at:
        yield Fault("two_periods", f"{period.daemon_id}/{period.from_at}", {"other": lasting.from_at})


def hearing_faults(rows: Sequence[Hearing]) -> Iterator[Fault]:
    """The fault of a store without its one row of hearing time, or where the count has gone back."""
    if len(rows) != 1:
        yield Fault("no_hearing", "1", {"count": len(rows)})
        return
    (row,) = rows
    if row.heard_at and row.heard_at - row.gaps_ms < row.resumed_h:
        yield Fault("hearing_went_back", "1", {"ms": row.resumed_h - row.heard_at + row.gaps_ms})
