"""Renewals and releases, by token or, for old clients, by the worker's name."""

from __future__ import annotations

import msgspec

from understudy.coordinator import leases, renewals
from understudy.coordinator.changes import Decision
from understudy.coordinator.identity import watch_name
from understudy.coordinator.nouns import CANCELLED, FINISHED, LEASED, Now, Progress, Task
from understudy.coordinator.renewals import NamedRun
from understudy.errors import BadRequestError, ConflictError, ForbiddenError, NotFoundError
from understudy.hub.operation import Operation
from understudy.hub.signs_of_life import need_incident, need_watched, touch
from understudy.hub.working_set import Needs, WorkingSet
from understudy.wire.answers.leases import AlreadyCancelled, Released, Renewed, lease_json
from understudy.wire.daemons import RunningBody
from understudy.wire.limits import CHECKPOINT_BYTES_MAX
from understudy.wire.tasks import ReleaseBody, RenewBody

LEGACY_EXTEND_S = 300
NO_LEASE = Released(success=True, message="No active lease")


def lease_lost(task: Task) -> ConflictError:
    """The answer to an older token: 409, with the present holder's name if there is one."""
    held_by = {"heldBy": task.worker_id} if task.status == LEASED else {}
    return ConflictError("Lease lost", "lease_lost", **held_by)


class RenewLease(Operation):
    """`POST /api/queue/{id}/renew`."""

    runs_alone = False

    def __init__(self, task_id: str, body: RenewBody) -> None:
        self.task_id = task_id
        self.body = body
        self.worker_id = body.worker_id or ""

    def needs(self, needs: Needs) -> None:
        """The task, and who renews it."""
        needs.row(Task, self.task_id)
        need_progress(needs, self.task_id, self.body)
        need_watched(needs, self.worker_id)

    def more(self, work: WorkingSet, needs: Needs) -> None:
        """The incident that this sign of life may close."""
        name = watch_name(self.worker_id)
        if name:
            need_incident(work, needs, name)

    def decide(self, work: WorkingSet, now: Now) -> Decision:
        """Extend the lease of its holder."""
        task = work.get(Task, self.task_id)
        if task is None:
            raise NotFoundError("No active lease")
        draft = touch(work, self.worker_id, now)
        is_legacy = self.body.token is None
        if not is_legacy and self.body.token != task.token:
            raise lease_lost(task)
        if not is_legacy and task.status == CANCELLED:
            return draft.decision(AlreadyCancelled(success=True, cancel=True))
        if task.status in FINISHED:
            raise NotFoundError("No active lease")
        if is_legacy and not leases.renews_legacy_lease(task, self.worker_id):
            raise ForbiddenError("Invalid lease or not holder")
        extend_s = self.body.extend_sec or (LEGACY_EXTEND_S if is_legacy else 0)
        change = leases.renew(task, now, extend_s * 1000)
        if change is None:
            raise ForbiddenError("Invalid lease or not holder") if is_legacy else lease_lost(task)
        renewed = draft.take(change)
        draft.add(self._progress(work, task, now))
        return draft.decision(Renewed(success=True, lease=lease_json(renewed, now)))

    def _progress(self, work: WorkingSet, task: Task, now: Now) -> list[Progress]:
        texts = texts_of(self.body)
        if texts is None:
            raise BadRequestError("Validation failed", (f"checkpoint: Expected at most {CHECKPOINT_BYTES_MAX} bytes",))
        run = NamedRun(task.id, task.token, progress=texts[0], checkpoint=texts[1])
        before = work.rows[Progress].get(task.id)
        return renewals.progress_of((run,), {task.id: task}, {task.id: before} if before else {}, now)


def need_progress(needs: Needs, task_id: str, said: RenewBody | NamedRun) -> None:
    """State that what a run said before is needed, if it says something now."""
    if said.progress is not None or said.checkpoint is not None:
        needs.row(Progress, task_id)


def texts_of(said: RenewBody | RunningBody) -> tuple[str | None, str | None] | None:
    """The JSON of progress and checkpoint; None if one of them is too large to be kept."""
    progress, checkpoint = (None if value is None else _json(value) for value in (said.progress, said.checkpoint))
    is_too_large = any(len(text.encode()) > CHECKPOINT_BYTES_MAX for text in (progress, checkpoint) if text)
    return None if is_too_large else (progress, checkpoint)


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()


class ReleaseLease(Operation):
    """`POST /api/queue/{id}/release`, by a worker, or by a guard as its daemon's last will."""

    runs_alone = False

    def __init__(self, task_id: str, body: ReleaseBody) -> None:
        self.task_id = task_id
        self.body = body

    def needs(self, needs: Needs) -> None:
        """The task."""
        needs.row(Task, self.task_id)

    def decide(self, work: WorkingSet, now: Now) -> Decision:
        """Back to the queue, if the caller holds it."""
        task = work.get(Task, self.task_id)
        if task is None:
            return Decision(NO_LEASE)
        if self.body.token is not None and self.body.token != task.token:
            raise lease_lost(task)
        if task.status != LEASED:
            return Decision(NO_LEASE)
        if self.body.token is None and not leases.releases_old_lease(task, self.body.worker_id or ""):
            raise ForbiddenError("Not lease holder")
        change = leases.release(task, now, work.policy, self.body.reason or "")
        return Decision(Released(success=True), change.rows, change.events)
