"""Answers about API keys."""

from __future__ import annotations

from msgspec import UNSET, UnsetType

from understudy.clock import iso
from understudy.coordinator.nouns import Key
from understudy.wire.answers.base import Answer, Instant, if_any


class KeyJson(Answer, frozen=True):
    """A key; its secret (`key`) only in the answer that made it."""

    id: str
    name: str
    scopes: list[str]
    created_at: Instant
    revoked_at: Instant | None
    rotated_to: str | None
    key: str | UnsetType = UNSET
    replaces: str | UnsetType = UNSET


class KeysAnswer(Answer, frozen=True):
    """All keys."""

    keys: list[KeyJson]


def key_json(key: Key, secret: str = "", replaces: str = "") -> KeyJson:
    """A key; its secret only where it was just made."""
    return KeyJson(
        key.id,
        key.name,
        key.scopes.split(),
        iso(key.created_at),
        iso(key.revoked_at) if key.revoked_at else None,
        key.rotated_to or None,
        if_any(secret),
        if_any(replaces),
    )
