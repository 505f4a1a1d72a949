"""Contents, outputs and errors as a page shows them: text with its lines, JSON in order, bounded, never as HTML."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

CHARS_SHOWN = 50_000
FOLDED_FROM_CHARS = 1_500
FOLDED_FROM_LINES = 24
LEAD_CHARS = 700
LEAD_LINES = 12


class Output(Struct, frozen=True):
    """A text to be shown."""

    text: str  # as much of it as is shown
    lead: str  # its beginning, if the rest is folded away; else ""
    chars: int  # of all of it
    is_cut: bool
    is_json: bool


def output_of(encoded: str) -> Output | None:
    """The JSON text of an output or error; None for none."""
    if not encoded:
        return None
    value: Any = msgspec.json.decode(encoded)
    if value is None or value == "":
        return None
    if isinstance(value, str):
        return text_output(value)
    return text_output(msgspec.json.format(encoded, indent=2), is_json=True)


def text_output(text: str, *, is_json: bool = False) -> Output:
    """A text; one that is long has a lead."""
    shown = text[:CHARS_SHOWN]
    is_long = len(shown) > FOLDED_FROM_CHARS or shown.count("\n") > FOLDED_FROM_LINES
    return Output(shown, _lead(shown) if is_long else "", len(text), len(text) > CHARS_SHOWN, is_json)


def _lead(text: str) -> str:
    return "\n".join(text[:LEAD_CHARS].split("\n")[:LEAD_LINES])
