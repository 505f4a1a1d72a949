"""API keys: scopes, the hash that is stored, and what makes, revokes and rotates them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from msgspec import Struct

from understudy.coordinator import keys, sessions
from understudy.coordinator.changes import Decision, Draft
from understudy.coordinator.nouns import Key, Now
from understudy.errors import ConflictError, MismatchError, NotFoundError
from understudy.hub.bounds import KEYS_MAX
from understudy.hub.operation import Operation
from understudy.hub.working_set import Needs, WorkingSet
from understudy.store.queries import REVOKED_KEYS, VALID_KEYS, Finder
from understudy.wire.answers.keys import key_json, new_key, rotated_key
from understudy.wire.keys import KeyCreateBody

SCOPES = frozenset({"submit", "work", "memory", "read", "admin"})
OWNER_SCOPES = SCOPES - {"admin"}
ADMIN_KEY_NAME = "ADMIN_API_KEY"
_REVOKED = "Key is revoked: create a new one"
MARK_CHARS = 8  # enough to see that a key of the environment is another one now, too few to guess it from


class Caller(Struct, frozen=True):
    """The sender of a request: the key's id and scopes."""

    key_id: str
    scopes: frozenset[str]
    lineage: str = ""
    mark: str = ""  # changes with the secret of a key of the environment, whose name stays

    def may(self, *wanted: str) -> bool:
        """True if it has any of these scopes; admin may do everything."""
        return "admin" in self.scopes or not self.scopes.isdisjoint(wanted)

    @property
    def is_admin(self) -> bool:
        """True if it may do everything."""
        return "admin" in self.scopes

    @property
    def owner(self) -> str:
        """The owner of its tasks and conversations: the same for a key and all that it is rotated to."""
        return self.lineage or self.key_id

    @property
    def memory_of(self) -> str:
        """The memory of its conversations: the shared one ("") with the memory scope, else its own."""
        return "" if self.may("memory") else self.owner


def hash_of(secret: str) -> str:
    """SHA-256: keys are random, so nothing slower is needed."""
    return hashlib.sha256(secret.encode()).hexdigest()


def caller_of(key: Key) -> Caller:
    """The caller that a stored key stands for."""
    return Caller(key.id, frozenset(key.scopes.split()), key.lineage)


class EnvironmentKey(Struct, frozen=True):
    """A key that the settings name; its secret stays at the edge."""

    name: str
    scopes: frozenset[str]
    mark: str  # the beginning of its hash

    @property
    def id(self) -> str:
        """As callers and events name it."""
        return f"env:{self.name}"


def environment_keys_of(secrets: Mapping[str, str]) -> tuple[EnvironmentKey, ...]:
    """The keys of the settings, by their names; the admin's may do everything."""
    return tuple(
        EnvironmentKey(name, SCOPES if name == ADMIN_KEY_NAME else OWNER_SCOPES, hash_of(secret)[:MARK_CHARS])
        for name, secret in secrets.items()
    )


def listed_keys(reader: Finder) -> list[Key]:
    """Every valid key and those that were revoked last, in the order of their ids."""
    keys = reader.find(VALID_KEYS, limit=KEYS_MAX) + reader.find(REVOKED_KEYS, limit=KEYS_MAX)
    return sorted(keys, key=lambda key: key.id)


class KeyChange(Operation):
    """Whatever changes which keys are good: the edge takes it over before it answers."""


def known(work: WorkingSet, key_id: str, secret: str) -> Key | None:
    """The key that this very request has made before; None if it is new. ConflictError, MismatchError."""
    key = work.get(Key, key_id)
    if key is None:
        return None
    if key.hash != hash_of(secret):
        raise MismatchError("Key id is in use")
    if key.revoked_at:
        raise ConflictError(_REVOKED, "revoked")
    return key


class CreateKey(KeyChange):
    """A new key. The secret is made at the edge and never stored; with the same id and secret it is made once."""

    def __init__(self, body: KeyCreateBody, key_id: str, secret: str, by: str) -> None:
        self.body = body
        self.key_id = key_id
        self.secret = secret
        self.by = by

    def needs(self, needs: Needs) -> None:
        """The number of valid keys, and the key if it was made before."""
        needs.row(Key, self.key_id)
        needs.key_count = True

    def decide(self, work: WorkingSet, now: Now) -> Decision:
        """Store its hash."""
        scopes = " ".join(sorted(set(self.body.scopes)))
        if made := known(work, self.key_id, self.secret):
            if (made.name, made.scopes) != (self.body.name, scopes):
                raise MismatchError("Key was made before, with another name or other scopes")
            return Decision(new_key(made, self.secret))
        work.bounds.take_key()
        key = Key(self.key_id, self.body.name, hash_of(self.secret), scopes, now.wall)
        return keys.create(key, self.by, now).decision(new_key(key, self.secret))


class RevokeKey(KeyChange):
    """From the commit on it is refused, and the sessions that were begun with it are over.

    Revoking twice changes nothing.
    """

    def __init__(self, key_id: str, by: str) -> None:
        self.key_id = key_id
        self.by = by

    def needs(self, needs: Needs) -> None:
        """The key, and its sessions."""
        needs.row(Key, self.key_id)
        needs.sessions = True

    def decide(self, work: WorkingSet, now: Now) -> Decision:
        """Mark it revoked, and them ended."""
        key = work.get(Key, self.key_id)
        if key is None:
            raise NotFoundError("Key not found")
        change = keys.revoke(key, self.by, now)
        if change is None:
            return Decision(key_json(key))
        draft = Draft()
        revoked = draft.take(change)
        its = (session for session in work.sessions() if session.key_id == key.id)
        for ended in sessions.end_all(its, self.by, now):
            draft.take(ended)
        return draft.decision(key_json(revoked))


class RotateKey(KeyChange):
    """A successor with the same name and scopes; the old one stays valid until it is revoked.

    What the old one submitted is the successor's as well. With the same id and secret it is made once.
    """

    def __init__(self, key_id: str, new_id: str, secret: str, by: str) -> None:
        self.key_id = key_id
        self.new_id = new_id
        self.secret = secret
        self.by = by

    def needs(self, needs: Needs) -> None:
        """The key, the number of valid ones, and the successor if it was made before."""
        needs.row(Key, self.key_id)
        needs.row(Key, self.new_id)
        needs.key_count = True

    def decide(self, work: WorkingSet, now: Now) -> Decision:
        """Make the successor."""
        key = work.get(Key, self.key_id)
        if key is None:
            raise NotFoundError("Key not found")
        if made := known(work, self.new_id, self.secret):
            return Decision(rotated_key(made, self.secret, key.id))
        change = keys.rotate(key, self.new_id, hash_of(self.secret), self.by, now)
        if change is None:
            raise ConflictError(_REVOKED, "revoked")
        work.bounds.take_key()
        return change.decision(rotated_key(change.noun, self.secret, key.id))
