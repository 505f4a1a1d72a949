"""Changes of tasks: enqueue, cancel, retry, move, and the end of a delay."""

from __future__ import annotations

from msgspec.structs import replace

from understudy.coordinator.changes import Change
from understudy.coordinator.leases import attempt_of, task_event
from understudy.coordinator.nouns import CANCELLED, FAILED, FINISHED, LEASED, QUEUED, Now, Result, Task
from understudy.coordinator.transitions import status_after

DAY_MS = 86_400_000
HOUR_MS = 3_600_000
PRIORITY_OFFSET_MS = {"critical": -DAY_MS, "high": -HOUR_MS, "medium": 0, "low": HOUR_MS}
SET_ASIDE_MS = 3_600_000
ORDER_STEP = 1000  # order keys of one instant


def order_key(priority: str, queued_at: int, nth: int) -> int:
    """The task's place in the queue: priority without starvation, then age, then the order within one instant."""
    return (queued_at + PRIORITY_OFFSET_MS.get(priority, 0)) * ORDER_STEP + nth % ORDER_STEP


def is_same(known: Task, body_hash: str, only_of: str = "") -> bool:
    """True if a new task repeats another one; `only_of`: a key that must not learn of the tasks of others."""
    return known.body_hash == body_hash and only_of in ("", known.submitter)


def enqueue(task: Task, now: Now) -> Change[Task]:
    """A new task: claimable at once, or when its time comes."""
    is_ready = task.available_at <= now.wall
    queued = replace(task, ready=int(is_ready))
    event = task_event(queued, now, "task.queued", f"Task {task.id} queued", source=task.source or None)
    return Change(queued, (), (event,))


def rung(task: Task, now: Now) -> Change[Task] | None:
    """The alarm's look at a delayed task: claimable once its instant has come; None if there is nothing to do."""
    if task.available_at > now.wall or task.status != QUEUED or task.ready or task.waiting_for:
        return None
    return Change(replace(task, ready=1))


def set_aside(task: Task, now: Now) -> Change[Task]:
    """A waiting task that nobody can be given as it stands, out of the way of those behind it."""
    note = "its content cannot be read"
    return Change(replace(task, ready=0, waiting_for="", available_at=now.wall + SET_ASIDE_MS, note=note))


def note(task: Task, text: str, now: Now) -> Change[Task]:
    """A legacy client's status of a task: kept as a note, it never takes a task out of the queue."""
    return Change(replace(task, note=text, updated_at=now.wall))


def cancel(task: Task, now: Now, by: str) -> Change[Task] | None:
    """Final at once; a worker that runs it learns it with its next renewal or beat. None: already finished."""
    if task.status in FINISHED:
        return None
    was_leased = task.status == LEASED
    cancelled = replace(
        task,
        status=status_after(task.status, "cancel"),
        ready=0,
        waiting_for="",
        updated_at=now.wall,
        finished_at=now.wall,
        ended="cancelled" if was_leased else task.ended,
    )
    event = task_event(cancelled, now, "task.cancelled", f"Task {task.id} cancelled", by=by)
    result = Result(task.id, 0, error='"cancelled"', failure='{"class":"cancelled"}', token=task.token, at=now.wall)
    rows = (cancelled, attempt_of(cancelled), result) if was_leased else (cancelled, result)
    return Change(cancelled, rows, (event,))


def retry(task: Task, now: Now, by: str) -> Change[Task] | None:
    """Failed or cancelled work starts anew with fresh counters; waiting out a backoff ends at once."""
    if task.status in (FAILED, CANCELLED):
        fresh = replace(task, attempts=0, losses=0, finished_at=0)
        queued = _claimable(fresh, now, "retry")
    elif task.status == QUEUED and not task.waiting_for:
        queued = _claimable(task, now, "hurry")
    else:
        return None
    event = task_event(queued, now, "task.retrying", f"Task {task.id} tried again", by=by)
    return Change(queued, (), (event,))


def move(task: Task, now: Now, by: str) -> Change[Task] | None:
    """Let a task that waits for its machine run elsewhere; None if it waits for none."""
    if task.status != QUEUED or not task.waiting_for:
        return None
    moved = _claimable(task, now, "move")
    event = task_event(moved, now, "task.queued", f"Task {task.id} may run elsewhere", by=by, was=task.waiting_for)
    return Change(moved, (), (event,))


def _claimable(task: Task, now: Now, event: str) -> Task:
    return replace(
        task,
        status=status_after(task.status, event),
        ready=1,
        waiting_for="",
        available_at=min(task.available_at, now.wall) or now.wall,
        updated_at=now.wall,
    )
