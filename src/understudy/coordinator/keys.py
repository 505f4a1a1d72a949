"""API keys: made, revoked, rotated. A successor owns what the keys before it submitted."""

from __future__ import annotations

from msgspec.structs import replace

from understudy.coordinator.changes import Change, Event, make_event
from understudy.coordinator.nouns import Key, Now


def create(key: Key, by: str, now: Now) -> Change[Key]:
    """A new key."""
    return Change(key, (), (_event(key, now, "key.created", by),))


def revoke(key: Key, by: str, now: Now) -> Change[Key] | None:
    """Refused from now on; None if it is already."""
    if key.revoked_at:
        return None
    return Change(replace(key, revoked_at=now.wall), (), (_event(key, now, "key.revoked", by),))


def rotate(key: Key, new_id: str, new_hash: str, by: str, now: Now) -> Change[Key] | None:
    """Its successor, with the same name and scopes; the old one stays valid. None if it is revoked."""
    if key.revoked_at:
        return None
    successor = Key(new_id, key.name, new_hash, key.scopes, now.wall, lineage=key.lineage or key.id)
    return Change(successor, (replace(key, rotated_to=new_id),), (_event(successor, now, "key.rotated", by),))


def _event(key: Key, now: Now, name: str, by: str) -> Event:
    fields = {"keyId": key.id, "scopes": key.scopes, "by": by}
    return make_event(now, name, f"Key {key.name} {name.partition('.')[2]}", fields, component="Keys")
