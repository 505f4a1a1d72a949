"""Names of conversations as workers get them: none of a key's own conversation is another's, nor a shared one's.

A daemon keeps a session by `channel:user`; old daemons also keep memory themselves, by the user in the metadata. For a
key's own conversation the hub says `owner/user` instead of the user.

No two owners have the same name. An owner is an id that the hub made, `key-` with letters and digits, so a name of its
own conversation has `:owner/` after the channel. A channel that has this form within itself, and a shared name that
has it anywhere, are given in another spelling: `/` as `%2f`, `%` as `%25`. So the first `:owner/` in a name is where
the hub put it, and a shared name has none. Names that have `:owner%` are spelled like that too; hence two names that
differ are spelled differently, but for what a daemon cuts: 128 characters of a channel, 512 of a user. All others stay
as they are.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from understudy.coordinator.nouns import Task
from understudy.hub.enqueue import user_of

_OWNED = re.compile(r"key-[0-9A-Za-z]{1,64}+[/%]")
_OWNED_IN_NAME = re.compile(f":{_OWNED.pattern}")


def conversation_fields(task: Task, spec: str, *, is_legacy: bool) -> dict[str, Any]:
    """The fields of a task that give its worker another name for its conversation; none where it stays as it is."""
    fields: dict[str, Any] = {}
    if task.user_id and (name := _other_name(task.channel, task.user_id, task.memory_of)):
        fields["conversation"] = {"channel": name[0], "user_id": name[1]}
    if is_legacy and (task.memory_of or _OWNED.search(spec)):
        metadata = msgspec.json.decode(spec).get("metadata")
        users = _other_users(metadata, task.memory_of) if isinstance(metadata, dict) else {}
        if users:
            fields["metadata"] = metadata | users
    return fields


def _other_name(channel: str, user: str, owner: str) -> tuple[str, str] | None:
    """Channel and user as a worker gets them; None: as they are."""
    if owner:
        return _spelled(channel) if _OWNED_IN_NAME.search(channel) else channel, f"{owner}/{user}"
    return (_spelled(channel), _spelled(user)) if _OWNED_IN_NAME.search(f"{channel}:{user}") else None


def _other_users(metadata: dict[str, Any], owner: str) -> dict[str, str]:
    users = {name: user_of(metadata[name]) for name in ("user_id", "userId") if metadata.get(name)}
    if owner:
        return {name: f"{owner}/{user}" for name, user in users.items()}
    return {name: _spelled(user) for name, user in users.items() if _OWNED.match(user)}


def _spelled(text: str) -> str:
    return text.replace("%", "%25").replace("/", "%2f")
