"""Answers about tasks: as they stand, enqueued, changed."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Raw, UnsetType

from understudy.clock import iso
from understudy.coordinator.nouns import Task
from understudy.wire.answers.base import Answer, Instant, Yes, one_of

STATUS_WORDS = {"queued": "pending", "leased": "claimed"}
Status = Annotated[str, one_of("pending", "claimed", "done", "failed", "cancelled")]
_encode = msgspec.json.Encoder().encode
_fields = msgspec.json.Decoder(dict[str, Raw]).decode


class TaskJson(Answer, frozen=True):
    """A task: every field that it was enqueued with, also those that we do not know, and where it stands."""

    id: str
    status: Status
    queued_at: Instant
    updated_at: Instant
    content: str | UnsetType = UNSET
    source: str | UnsetType = UNSET
    metadata: dict[str, Any] | UnsetType = UNSET
    priority: str | UnsetType = UNSET
    needs: list[str] | UnsetType = UNSET
    delay_sec: float | UnsetType = UNSET
    available_at: str | UnsetType = UNSET
    max_attempts: int | UnsetType = UNSET
    timeout_sec: float | UnsetType = UNSET
    on_loss: str | UnsetType | None = UNSET
    takeover: str | UnsetType = UNSET
    dedup_key: str | UnsetType = UNSET
    conversation: dict[str, Any] | str | UnsetType = UNSET
    executor: str | UnsetType = UNSET
    workspace: str | UnsetType = UNSET
    group: str | UnsetType = UNSET
    reply_to: dict[str, Any] | str | UnsetType = UNSET


class QueueAnswer(Answer, frozen=True):
    """The first claimable tasks; `count` is the length of the list."""

    pending: list[str]
    count: int


class Created(Answer, frozen=True):
    """The id of a task; `created` is false for one that was there already."""

    task_id: str
    created: bool


class EnqueueAnswer(Answer, frozen=True):
    """The id of the one task; `created` is false if it was there already."""

    success: Yes
    task_id: str
    created: bool


class BatchAnswer(Answer, frozen=True):
    """The tasks of a batch, in its order."""

    tasks: list[Created]


class TaskChanged(Answer, frozen=True):
    """The task that was cancelled, retried or moved."""

    success: Yes
    task_id: str


class Noted(Answer, frozen=True):
    """The status that was noted."""

    success: Yes
    status: str


def task_json(task: Task, spec: str) -> Raw:
    """The task as old clients know it: what it was enqueued with, and where it stands."""
    return over(spec, TaskJson(task.id, status_word(task), iso(task.queued_at), iso(task.updated_at)))


def status_word(task: Task) -> str:
    """Its status in the words of the wire."""
    return STATUS_WORDS.get(task.status, task.status)


def over(spec: str, said: TaskJson, **instead: Raw) -> Raw:
    """JSON of the fields in `spec`, unread: its sender may have sent any. Over them what the hub says.

    `instead` stands for fields that neither has.
    """
    return Raw(_encode(instead | _fields(spec) | _fields(_encode(said))))
