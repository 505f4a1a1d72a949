"""Answers to claims."""

from __future__ import annotations

from typing import Any

from msgspec import UNSET, Raw, UnsetType

from understudy.clock import iso
from understudy.coordinator.nouns import Task
from understudy.wire.answers.base import Answer, No, Yes
from understudy.wire.answers.leases import GrantedLease
from understudy.wire.answers.tasks import TaskJson, over, status_word


class ClaimedTask(TaskJson, frozen=True):
    """A task as its worker gets it: with the checkpoint of the attempt before, and the memory of its conversation."""

    checkpoint: Any = UNSET
    context: str | UnsetType = UNSET


class ClaimedItem(Answer, frozen=True):
    """One task and its lease."""

    task: ClaimedTask
    lease: GrantedLease


class Claimed(Answer, frozen=True):
    """The first task that was claimed; all of them in `tasks` where the claim said how many."""

    success: Yes
    task_id: str
    task: ClaimedTask
    lease: GrantedLease
    tasks: list[ClaimedItem] | UnsetType = UNSET


class NoTasks(Answer, frozen=True):
    """There is nothing for this worker; `pending` tasks wait for others or for later."""

    success: No
    message: str
    pending: int
    tasks: list[ClaimedItem] | UnsetType = UNSET


def claimed_json(task: Task, spec: str, **more: Any) -> Raw:
    """A task for its worker; `more` are further fields of ClaimedTask."""
    said = ClaimedTask(task.id, status_word(task), iso(task.queued_at), iso(task.updated_at), **more)
    return over(spec, said)
