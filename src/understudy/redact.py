"""Secrets out of whatever is shown or kept: by exact value, and by the shapes we make ourselves."""

from __future__ import annotations

import re

MASK = "[REDACTED]"
_SECRET_LENGTH_MIN = 8
_SHAPES = re.compile(
    r"usk_[0-9a-z]{32}"  # our own keys
    r"|sk-ant-[A-Za-z0-9_-]{16,}"
    r"|xox[abeoprs]-[A-Za-z0-9-]{10,}"
    r"|(?<=[Bb]earer )[A-Za-z0-9._~+/-]{16,}=*"
)


class Redactor:
    """Knows the secrets of this process by value and the common shapes by pattern."""

    def __init__(self, secrets: tuple[str, ...] = ()) -> None:
        known = sorted({s for s in secrets if len(s) >= _SECRET_LENGTH_MIN}, key=len, reverse=True)
        self._values = re.compile("|".join(re.escape(s) for s in known)) if known else None

    def clean(self, text: str) -> str:
        """`text` with every known secret replaced."""
        if self._values is not None:
            text = self._values.sub(MASK, text)
        return _SHAPES.sub(MASK, text)
