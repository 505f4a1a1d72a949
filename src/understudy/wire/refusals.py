"""The form of the hub's own refusals, which sets them apart from those of a proxy or a firewall."""

from __future__ import annotations

from typing import Any


def has_words(body: dict[str, Any]) -> bool:
    """True if this is how the hub refuses: `error` is a sentence. Gateways write `"error": {…}`, or a page."""
    return isinstance(body.get("error"), str)
