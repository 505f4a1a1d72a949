"""Bodies about sessions of the pages."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct


class LoginLinkBody(Struct, rename="camel", frozen=True):
    """The scope of the browser that follows the link."""

    scope: Literal["read", "admin"] = "read"
