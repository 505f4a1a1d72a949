"""`replyTo`: where the answer of a task goes, checked when it is enqueued."""

from __future__ import annotations

from typing import Any

import msgspec

from understudy.coordinator.answers import Place
from understudy.coordinator.routes import Routes
from understudy.errors import BadRequestError

CHARS_MAX = 256


def reply_of(said: dict[str, Any] | str | None, routes: Routes) -> str:
    """The place as Task.reply_to keeps it; BadRequestError for a channel that this hub does not have, or of alarms.

    A name, `name:chat`, `name:chat:thread`, or an object with `channel`, `chat`, `thread`.
    """
    if not said:
        return ""
    if isinstance(said, str):
        channel, _, rest = said.partition(":")
        chat, _, thread = rest.partition(":")
        place = Place(channel, chat, thread)
    else:
        place = Place(*(_text(said.get(name), name) for name in ("channel", "chat", "thread")))
    if place.channel in routes.joining:
        why = f"{place.channel} takes alarms only: each message opens one there, which pages people and never ends"
        raise BadRequestError("Validation failed", (f"replyTo.channel: {why}",))
    if place.channel not in routes.channels:
        known = [name for name in routes.channels if name not in routes.joining]
        expected = f"one of {', '.join(known)}" if known else "nothing: this hub has no channels"
        raise BadRequestError("Validation failed", (f"replyTo.channel: Expected {expected}",))
    return msgspec.json.encode(place).decode()


def _text(value: Any, name: str) -> str:
    """Ids of chats may be numbers."""
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, str | int) or len(str(value)) > CHARS_MAX:
        raise BadRequestError("Validation failed", (f"replyTo.{name}: Expected at most {CHARS_MAX} characters",))
    return str(value)
