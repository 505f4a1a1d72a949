"""Answers about the hub itself, for which no key is needed."""

from __future__ import annotations

from typing import Annotated

from understudy.wire.answers.base import Answer, Instant, one_of


class HealthAnswer(Answer, frozen=True):
    """The hub runs; `healthy` is the word that watchdogs of the old hub ask for."""

    status: Annotated[str, one_of("ok", "healthy")]
    version: str
    started_at: Instant


class StoreJson(Answer, frozen=True):
    """Whether the store takes a write, how long the last commit took, and how many rows cannot be read."""

    writable: bool
    commit_ms: float
    unreadable: int


class AlarmJson(Answer, frozen=True):
    """How late the alarm rang last, and when it rings next."""

    lag_ms: int
    next_at: Instant


class OutboxJson(Answer, frozen=True):
    """How long the oldest notice that is due has waited."""

    oldest_sec: float


class ReadyAnswer(Answer, frozen=True):
    """Whether the hub can do its work now."""

    ready: bool
    store: StoreJson
    alarm: AlarmJson
    outbox: OutboxJson
