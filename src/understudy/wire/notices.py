"""Bodies about notices."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from understudy.wire.limits import Name


class SnoozeBody(Struct, rename="camel", frozen=True):
    """The time without reminders and escalations of an incident; 0 ends it."""

    for_sec: Annotated[float, Meta(ge=0, le=30 * 86_400)]


class TestBody(Struct, rename="camel", frozen=True):
    """The channel that gets a test; absent: each."""

    channel: Name | None = None
