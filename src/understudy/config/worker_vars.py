"""The variables of a Worker as settings: `vars` of wrangler.jsonc takes texts, and numbers and switches as JSON has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def texts_of(given: Mapping[str, Any]) -> dict[str, str]:
    """Each text, number or switch as text; what else is bound to a Worker is no setting."""
    return {name: _text(value) for name, value in given.items() if isinstance(value, str | bool | int | float)}


def _text(value: str | float) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
