"""Answers about the hub itself, for which no key is needed."""

from __future__ import annotations

from typing import Annotated

from msgspec import UNSET, UnsetType

from understudy.wire.answers.base import Answer, Instant, one_of


class HealthAnswer(Answer, frozen=True):
    """The hub runs; `healthy` is the word that watchdogs of the old hub ask for."""

    status: Annotated[str, one_of("ok", "healthy")]
    version: str
    started_at: Instant


class StoreJson(Answer, frozen=True):
    """The store: if it takes a write, the time of the last commit, and the number of unreadable rows."""

    writable: bool
    commit_ms: float
    unreadable: int


class AlarmJson(Answer, frozen=True):
    """The alarm: its last delay, and its next instant."""

    lag_ms: int
    next_at: Instant


class OutboxJson(Answer, frozen=True):
    """The wait of the oldest notice that is due."""

    oldest_sec: float


class ReadyAnswer(Answer, frozen=True):
    """The readiness of the hub; `draining`: it is about to stop, and still serves. `hub` is its given name."""

    ready: bool
    store: StoreJson
    alarm: AlarmJson
    outbox: OutboxJson
    draining: bool
    hub: str | UnsetType = UNSET
