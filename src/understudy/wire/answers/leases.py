"""Answers about leases: as they stand, renewed, given back."""

from __future__ import annotations

from typing import Any

from msgspec import UNSET, UnsetType

from understudy.clock import iso
from understudy.coordinator.hearing import at_wall
from understudy.coordinator.nouns import Now, Task
from understudy.wire.answers.base import Answer, Instant, Yes, instant_if_any


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


class GrantedLease(LeaseJson, frozen=True):
    """A lease as the answer to a claim; `left_sec`, in hearing time, until it ends unless it is renewed."""

    left_sec: float | UnsetType = UNSET


class Renewed(Answer, frozen=True):
    """The lease as it stands now."""

    success: Yes
    lease: LeaseJson


class AlreadyCancelled(Answer, frozen=True):
    """The task was cancelled: its run is to end."""

    success: Yes
    cancel: Yes


class Released(Answer, frozen=True):
    """The task is back in the queue, or `message` says that there was nothing to give back."""

    success: Yes
    message: str | UnsetType = UNSET


def lease_json(task: Task, now: Now) -> LeaseJson:
    """The lease that a task has."""
    return LeaseJson(*_fields(task, now))


def granted_lease_json(task: Task, now: Now) -> GrantedLease:
    """The lease that a claim got, now or when it was sent before."""
    left_sec = UNSET if task.is_legacy else (task.expires_h - now.h) / 1000
    return GrantedLease(*(*_fields(task, now), left_sec))


def _fields(task: Task, now: Now) -> tuple[Any, ...]:
    """The fields of a `LeaseJson`, in their order."""
    expires_at = iso(at_wall(now, task.expires_h))
    times = task.worker_id, iso(task.claimed_at), expires_at, instant_if_any(task.renewed_at)
    if task.is_legacy:
        return *times, UNSET, UNSET, UNSET, UNSET
    return *times, task.token, task.attempts + task.losses + 1, task.lease_on_loss, task.duration_ms / 1000
