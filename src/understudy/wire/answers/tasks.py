"""Answers about tasks: as they stand, their attempts, leases and results."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Raw, UnsetType

from understudy.clock import iso
from understudy.coordinator.nouns import Attempt, Result, Task
from understudy.coordinator.takeover import EXECUTOR
from understudy.coordinator.takeover_nouns import TaskTakeover
from understudy.money import usd
from understudy.wire.answers.base import Answer, Instant, Yes, as_stored, if_any, one_of
from understudy.wire.answers.events import EventJson
from understudy.wire.tasks import FailureBody

STATUS_WORDS = {"queued": "pending", "leased": "claimed"}
Status = Annotated[str, one_of("pending", "claimed", "done", "failed", "cancelled")]
Outcome = Annotated[str, one_of("done", "failed", "blocked", "timed_out", "expired", "released", "lost", "cancelled")]
_NO_METADATA = Raw(b"{}")
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


class AttemptJson(Answer, frozen=True):
    """One lease of a task, and how it ended."""

    token: int
    worker_id: str
    claimed_at: Instant
    ended_at: Instant | UnsetType = UNSET
    outcome: Outcome | UnsetType = UNSET


class LeaseJson(Answer, frozen=True):
    """A lease; token and duration only where its claim was token-aware."""

    worker_id: str
    claimed_at: Instant
    expires_at: Instant
    renewed_at: Instant | UnsetType = UNSET
    token: int | UnsetType = UNSET
    attempt: int | UnsetType = UNSET
    on_loss: str | UnsetType = UNSET
    duration_sec: float | UnsetType = UNSET


class ResultJson(Answer, frozen=True):
    """The end of a task. Empty in the record of a task that ended without a result, such as a cancelled one."""

    success: bool | UnsetType = UNSET
    output: Any = UNSET
    error: Any = UNSET
    failure: FailureBody | UnsetType = UNSET
    usage: dict[str, Any] | UnsetType = UNSET
    executor: str | UnsetType = UNSET
    degraded: Yes | UnsetType = UNSET
    cost_usd: float | UnsetType = UNSET


class ProvisionalJson(Answer, frozen=True):
    """The hub's own answer, until the machine that the task waits for gives its own."""

    output: Any
    executor: str
    degraded: Yes
    at: Instant


class TaskRecord(TaskJson, frozen=True, kw_only=True):
    """All that is known of a task; from `history` on only where one task is asked for."""

    losses: int
    attempts: list[AttemptJson]
    waiting_for: str | UnsetType = UNSET
    note: str | UnsetType = UNSET
    finished_at: Instant | UnsetType = UNSET
    result: ResultJson | UnsetType = UNSET
    history: list[EventJson] | UnsetType = UNSET
    progress: Any = UNSET
    progress_at: Instant | UnsetType = UNSET
    provisional: ProvisionalJson | UnsetType = UNSET
    lease: LeaseJson | UnsetType = UNSET


class QueueAnswer(Answer, frozen=True):
    """The first claimable tasks; `count` is the length of the list."""

    pending: list[str]
    count: int


class TasksAnswer(Answer, frozen=True):
    """Tasks, newest first."""

    tasks: list[TaskRecord]
    next: str | UnsetType = UNSET


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


def record_json(task: Task, spec: str, attempts: list[Attempt], **more: Any) -> Raw:
    """The record of a task; `more` are further fields of TaskRecord."""
    record = TaskRecord(
        id=task.id,
        status=status_word(task),
        queued_at=iso(task.queued_at),
        updated_at=iso(task.updated_at),
        source=task.source,
        priority=task.priority,
        needs=as_stored(task.needs),
        on_loss=task.on_loss or None,
        takeover=task.takeover,
        max_attempts=task.max_attempts,
        timeout_sec=task.timeout_ms / 1000,
        available_at=iso(task.available_at),
        losses=task.losses,
        attempts=[attempt_json(attempt) for attempt in attempts],
        waiting_for=if_any(task.waiting_for),
        note=if_any(task.note),
        finished_at=iso(task.finished_at) if task.finished_at else UNSET,
        **more,
    )
    return over(spec, record, metadata=_NO_METADATA)


def attempt_json(attempt: Attempt) -> AttemptJson:
    """An attempt; how it ended once it has."""
    claimed_at = iso(attempt.claimed_at)
    if not attempt.ended_at:
        return AttemptJson(attempt.token, attempt.worker_id, claimed_at)
    return AttemptJson(attempt.token, attempt.worker_id, claimed_at, iso(attempt.ended_at), attempt.outcome)


def result_json(row: Result) -> ResultJson:
    """A result, with what its worker sent as it is stored."""
    return ResultJson(
        success=bool(row.success),
        output=as_stored(row.output) if row.output else UNSET,
        error=as_stored(row.error) if row.error else UNSET,
        failure=as_stored(row.failure) if row.failure else UNSET,
        usage=as_stored(row.usage) if row.usage else UNSET,
        executor=if_any(row.executor),
        degraded=True if row.degraded else UNSET,
        cost_usd=usd(row.cost_micro_usd) if row.cost_micro_usd else UNSET,
    )


def provisional_json(done: TaskTakeover) -> ProvisionalJson:
    """The answer that takeover has given meanwhile."""
    return ProvisionalJson(as_stored(done.provisional), EXECUTOR, degraded=True, at=iso(done.provisional_at))
