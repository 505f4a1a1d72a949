"""Bodies about sessions of the pages."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from understudy.wire.limits import Id


class LoginLinkBody(Struct, rename="camel", frozen=True):
    """The scope of the browser that follows the link."""

    scope: Literal["read", "admin"] = "read"


class EndSessionsBody(Struct, rename="camel", frozen=True):
    """The session that stays, if one does."""

    keep: Id | None = None
