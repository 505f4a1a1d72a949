"""Fits text into a limit: split or cut at the best border, never inside a code point; a cut is always marked.

The limits themselves stand in the module of each channel. What they count differs, so every function takes the cost of
a character. Left out are white space at the borders of parts, terminal sequences, and the note at a cut.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from understudy import legible

Cost = Callable[[str], int]

JOINER = "\u2060"  # not seen and no border of a word: it keeps a service from reading a mention
_FENCE = "```"
_CLOSING = "\n```"
_OPENED = re.compile(r"```([\w+#.-]{0,20})\n")
_BORDERS = ("\n", "。", " ")  # from the best to the worst


def utf16(char: str) -> int:
    """UTF-16 units, what Telegram, Discord and Slack count."""
    return 2 if char > "\uffff" else 1


def utf8(char: str) -> int:
    """Bytes, what ntfy counts."""
    return len(char.encode())


def cost_of(text: str, cost: Cost) -> int:
    """The cost of the whole text."""
    return sum(map(cost, text))


def clean(text: str) -> str:
    """`text` without terminals' sequences, and with what else steers, or what a service chokes on, escaped."""
    return legible.text(text)


def one_line(text: str) -> str:
    """`text` in a single line, for titles and labels."""
    return " ".join(text.split())


def cut(text: str, limit: int, cost: Cost = utf16) -> str:
    """`text` if it fits, else its beginning and `…`."""
    if cost_of(text, cost) <= limit:
        return text
    return text[: _fitting(text, limit - cost("…"), cost)].rstrip() + "…"


def split(
    text: str, limit: int, cost: Cost, *, parts_max: int, note: Callable[[int], str], is_fenced: bool = True
) -> list[str]:
    """`text` in at most `parts_max` parts within `limit`; if it is longer, the last ends with `note(characters left)`.

    With `is_fenced`, a code block that a border cuts is closed before it and opened again after it.
    """
    parts: list[str] = []
    opening, rest = "", text.strip("\n").rstrip()
    while rest:
        room = limit - (cost_of(opening + _CLOSING, cost) if is_fenced else 0)
        is_last = len(parts) + 1 == parts_max
        size = _border(rest, limit - cost_of(opening, cost), cost, room)
        if size == len(rest) and is_fenced and _reopening(opening + rest):  # it ends in a block that nobody closed
            size = _border(rest, room, cost)
        ending = ""
        if is_last and size < len(rest):
            ending = note(len(rest))
            size = _border(rest, room - cost_of(ending, cost), cost)
            ending = note(len(rest) - size)
        body, rest = opening + rest[:size].rstrip(), rest[size:].strip("\n")
        opening = _reopening(body) if is_fenced else ""
        if body.strip():
            parts.append(body + (_CLOSING if opening else "") + ending)
        if is_last:
            break
    return parts


def _fitting(text: str, room: int, cost: Cost) -> int:
    """The number of characters of `text` that fit into `room`; at least one, so that every loop ends."""
    spent = 0
    for at, char in enumerate(text):
        spent += cost(char)
        if spent > room:
            return max(at, 1)
    return len(text)


def _border(text: str, whole: int, cost: Cost, room: int = 0) -> int:
    """The end of the first part: everything if it fits into `whole`, else the best border within `room`."""
    size = _fitting(text, whole, cost)
    if size == len(text):
        return size
    size = _fitting(text, room or whole, cost)
    for border in _BORDERS:
        at = text.rfind(border, size // 2, size)
        if at >= 0:
            return at + len(border)
    if text[size - 1] == text[size] == "`":  # half a fence is none
        return len(text[:size].rstrip("`")) or size
    return size


def _reopening(body: str) -> str:
    """The begin of the next part if this one ends inside a code block, else ""."""
    if body.count(_FENCE) % 2 == 0:
        return ""
    opened = _OPENED.findall(body)
    return f"{_FENCE}{opened[-1] if opened else ''}\n"
