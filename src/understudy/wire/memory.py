"""Bodies about memory: what was said to whom on which channel."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from msgspec import Meta, Struct

from understudy.wire.limits import Id, LongText

CHANNEL_CHARS_MAX = 128


def channel_of(name: str) -> str:
    """A channel as memory keeps it: its case does not matter, and a lower-case text may be the longer one."""
    return name.lower()[:CHANNEL_CHARS_MAX]


class MemorySaveBody(Struct, frozen=True):
    """One message. Old daemons send snake_case, upper-case channels and whole user objects."""

    heals_nul: ClassVar[bool] = True
    user_id: str | int | dict[str, Any]
    channel: Annotated[str, Meta(max_length=CHANNEL_CHARS_MAX)]
    role: Literal["user", "assistant", "system"]
    content: LongText
    id: Id | None = None
    source: Annotated[str, Meta(max_length=128)] | None = None
    metadata: Any = None
    created_at: str | int | float | None = None
