"""Results, judged by token and never by boot; what comes too late is kept as evidence."""

from __future__ import annotations

from msgspec import Struct

from understudy.coordinator import leases
from understudy.coordinator.changes import Change, Event
from understudy.coordinator.leases import OUTCOMES_OF_FAILURE, task_event
from understudy.coordinator.nouns import CANCELLED, DONE, FINISHED, LEASED, Memory, Now, Result, Task

COUNTS, REPEATED = "counts", "repeated"
OLDER_TOKEN = "an older token"  # noqa: S105 - why it comes too late
NO_LEASE = "no lease of this worker"
FINISHED_ANYWAY = "finished anyway"


class ReceivedResult(Struct, frozen=True):
    """A result as its worker gives it."""

    success: bool
    worker_id: str = ""
    token: int | None = None  # None: an old client
    failure: str = ""  # the class of a failure, as the worker names it
    is_final: bool = False  # a failure after which no further attempt is made


def verdict(task: Task, report: ReceivedResult) -> str:
    """COUNTS; REPEATED if it was heard before; or why it comes too late."""
    if report.token is None:
        return COUNTS if leases.closes_legacy_attempt(task, report.worker_id) else NO_LEASE
    if leases.counts_still(task, report.token, success=report.success):
        return COUNTS
    if not leases.is_settled(task, report.token):
        return OLDER_TOKEN
    return FINISHED_ANYWAY if task.status == CANCELLED and report.success else REPEATED


def is_sign_of_life(task: Task, report: ReceivedResult) -> bool:
    """True if its worker lives: it names itself, or is the one that holds the lease."""
    return bool(report.worker_id) or (task.status == LEASED and bool(task.is_legacy))


def settle(task: Task, report: ReceivedResult, result: Result, now: Now) -> Change[Task]:
    """The task after a result that counts."""
    outcome = report.failure if report.failure in OUTCOMES_OF_FAILURE else "failed"
    return leases.settle(task, result, now, is_final=report.is_final, outcome=outcome)


def is_revived(before: Task, after: Task) -> bool:
    """True if a task that had failed as poison is queued again by a late report: the result of that end is removed."""
    return before.status in FINISHED and after.status not in FINISHED


def late(task: Task, why: str, now: Now) -> Event:
    """The event of a result that came too late."""
    message = f"A result for {task.id} came too late and is kept as evidence"
    return task_event(task, now, "result.late", message, reason=why)


def is_remembered(task: Task) -> bool:
    """True if question and answer go into the memory of a conversation: old clients keep it themselves."""
    return bool(task.user_id) and not task.is_legacy and task.status in FINISHED


def conversation(task: Task, question: str, answer: str, now: Now) -> tuple[Memory, ...]:
    """The messages of a finished task for its conversation's memory: the question, and the answer if there is one."""
    asked = _message(task, "ask", "user", question, task.queued_at)
    return (asked, _message(task, "answer", "assistant", answer, now.wall)) if task.status == DONE else (asked,)


def _message(task: Task, part: str, role: str, text: str, at: int) -> Memory:
    """One message. Its id has the instant too: a task's id may be used again and must not replace older messages."""
    message_id = f"{task.id}:{task.queued_at}:{part}"
    return Memory(message_id, task.user_id, task.channel, role, text, "task", "", at, task.memory_of)
