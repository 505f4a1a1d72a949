"""An owner's commands for a task (cancel, retry, move), and the note that a legacy daemon leaves on it."""

from __future__ import annotations

from typing import Literal

from understudy.coordinator import tasks
from understudy.coordinator.changes import Decision
from understudy.coordinator.nouns import FINISHED, Now, Result, Task, Usage
from understudy.errors import ConflictError, ForbiddenError, NotFoundError
from understudy.hub.enqueue import share_of
from understudy.hub.leases import lease_lost
from understudy.hub.operation import Operation
from understudy.hub.working_set import Needs, WorkingSet
from understudy.wire.answers.tasks import Noted, TaskChanged

Verb = Literal["cancel", "retry", "move"]
_REFUSALS = {
    "cancel": ("Task is already finished", "finished"),
    "retry": ("Only a failed, cancelled or delayed task can be retried", "not_retryable"),
    "move": ("Task does not wait for a machine", "not_waiting"),
}
TASK_UNKNOWN = "Task not found"


class CommandTask(Operation):
    """Cancel, retry or move a task. `only_of` limits it to tasks that this key submitted."""

    def __init__(self, verb: Verb, task_id: str, by: str, only_of: str = "") -> None:
        self.verb = verb
        self.task_id = task_id
        self.by = by
        self.only_of = only_of

    def needs(self, needs: Needs) -> None:
        """The task."""
        needs.row(Task, self.task_id)

    def details(self, work: WorkingSet, needs: Needs) -> None:
        """Its needs and the use of its key, if it may be finished: it waits again."""
        task = work.get(Task, self.task_id)
        if self.verb == "retry" and task is not None:
            needs.new_needs.add(task.needs)
            needs.row(Usage, task.submitter)

    def _share(self, work: WorkingSet, task: Task) -> Usage | None:
        return share_of(work, task.submitter) if self.only_of else None

    def decide(self, work: WorkingSet, now: Now) -> Decision:
        """Apply the verb's rule; repeating it does nothing the second time."""
        task = work.get(Task, self.task_id)
        if task is None:
            raise NotFoundError(TASK_UNKNOWN)
        if self.only_of and task.submitter != self.only_of:
            raise ForbiddenError(code="scope")
        answer = TaskChanged(success=True, task_id=task.id)
        if self.verb == "cancel" and task.status == "cancelled":
            return Decision(answer)
        change = getattr(tasks, self.verb)(task, now, self.by)
        if change is None:
            message, code = _REFUSALS[self.verb]
            raise ConflictError(message, code, status=task.status)
        starts_anew = self.verb == "retry" and task.status in FINISHED
        if starts_anew:
            work.bounds.take(0, (task,), self._share(work, task))
        return Decision(answer, change.rows, change.events, ((Result, task.id),) if starts_anew else ())


class NoteTaskStatus(Operation):
    """`POST /api/queue/{id}/status`: recorded as a note, it never takes a task out of the queue."""

    runs_alone = False

    def __init__(self, task_id: str, status: str, token: int | None = None) -> None:
        self.task_id = task_id
        self.status = status
        self.token = token

    def needs(self, needs: Needs) -> None:
        """The task."""
        needs.row(Task, self.task_id)

    def decide(self, work: WorkingSet, now: Now) -> Decision:
        """Note it on a task that is not finished; an older token changes nothing."""
        task = work.get(Task, self.task_id)
        if task is not None and self.token is not None and self.token != task.token:
            raise lease_lost(task)
        if task is None or task.status in FINISHED:
            raise NotFoundError(TASK_UNKNOWN)
        return tasks.note(task, self.status, now).decision(Noted(success=True, status=self.status))
