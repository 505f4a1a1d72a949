"""Bodies about API keys and incidents."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from understudy.wire.limits import Name, ShortText

Scope = Literal["submit", "work", "memory", "read", "admin"]


class KeyCreateBody(Struct, rename="camel", frozen=True):
    """A new named key with its scopes."""

    name: Name
    scopes: Annotated[list[Scope], Meta(min_length=1, max_length=5)]


class AcknowledgeBody(Struct, rename="camel", frozen=True):
    """The acknowledgement of an incident."""

    by: ShortText | None = None
