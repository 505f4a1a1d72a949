"""Answers about API keys."""

from __future__ import annotations

from typing import Any

from understudy.clock import iso
from understudy.coordinator.nouns import Key
from understudy.wire.answers.base import Answer, Instant


class KeyJson(Answer, frozen=True):
    """A key, without its secret."""

    id: str
    name: str
    scopes: list[str]
    created_at: Instant
    revoked_at: Instant | None
    rotated_to: str | None


class NewKey(KeyJson, frozen=True):
    """A key that was just made: its secret is shown this once."""

    key: str


class RotatedKey(NewKey, frozen=True):
    """The successor of a key."""

    replaces: str


class KeysAnswer(Answer, frozen=True):
    """All keys."""

    keys: list[KeyJson]


def key_json(key: Key) -> KeyJson:
    """A key without its secret."""
    return KeyJson(**_seen(key))


def new_key(key: Key, secret: str) -> NewKey:
    """A new key, for the client that asked for it."""
    return NewKey(**_seen(key), key=secret)


def rotated_key(key: Key, secret: str, replaces: str) -> RotatedKey:
    """The successor of the key `replaces`."""
    return RotatedKey(**_seen(key), key=secret, replaces=replaces)


def _seen(key: Key) -> dict[str, Any]:
    return {
        "id": key.id,
        "name": key.name,
        "scopes": key.scopes.split(),
        "created_at": iso(key.created_at),
        "revoked_at": iso(key.revoked_at) if key.revoked_at else None,
        "rotated_to": key.rotated_to or None,
    }
