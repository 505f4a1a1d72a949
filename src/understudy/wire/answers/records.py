"""The record of a task: all that is known of it, its attempts and history."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import UNSET, Raw, UnsetType

from understudy.clock import iso
from understudy.coordinator.nouns import Attempt, Task
from understudy.coordinator.takeover import EXECUTOR
from understudy.coordinator.takeover_nouns import TaskTakeover
from understudy.wire.answers.base import Answer, Instant, Yes, as_stored, if_any, one_of
from understudy.wire.answers.events import EventJson
from understudy.wire.answers.leases import LeaseJson
from understudy.wire.answers.results import ResultJson
from understudy.wire.answers.tasks import TaskJson, over, status_word

Outcome = Annotated[str, one_of("done", "failed", "blocked", "timed_out", "expired", "released", "lost", "cancelled")]
_NO_METADATA = Raw(b"{}")


class AttemptJson(Answer, frozen=True):
    """One lease of a task, and how it ended."""

    token: int
    worker_id: str
    claimed_at: Instant
    ended_at: Instant | UnsetType = UNSET
    outcome: Outcome | UnsetType = UNSET


class InterimJson(Answer, frozen=True):
    """The hub's own answer, until the machine that the task waits for gives its own."""

    output: Any
    executor: str
    degraded: Yes
    at: Instant


class TaskRecord(TaskJson, frozen=True, kw_only=True):
    """A task and its attempts, as lists show it."""

    losses: int
    attempts: list[AttemptJson]
    waiting_for: str | UnsetType = UNSET
    note: str | UnsetType = UNSET
    finished_at: Instant | UnsetType = UNSET
    result: ResultJson | UnsetType = UNSET


class WholeRecord(TaskRecord, frozen=True, kw_only=True):
    """All that is known of a task."""

    history: list[EventJson]
    progress: Any = UNSET
    progress_at: Instant | UnsetType = UNSET
    provisional: InterimJson | UnsetType = UNSET
    lease: LeaseJson | UnsetType = UNSET


class TasksAnswer(Answer, frozen=True):
    """Tasks, newest first."""

    tasks: list[TaskRecord]
    next: str | UnsetType = UNSET


def record_json(
    task: Task, spec: str, attempts: list[Attempt], shape: type[TaskRecord] = TaskRecord, **more: Any
) -> Raw:
    """The record of a task; `more` are further fields of its shape."""
    record = shape(
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


def interim_json(done: TaskTakeover) -> InterimJson:
    """The interim answer that takeover has given."""
    return InterimJson(as_stored(done.interim_answer), EXECUTOR, degraded=True, at=iso(done.interim_at))
