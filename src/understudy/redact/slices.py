"""Searches long texts slice by slice: a call of a pattern holds the interpreter, so each is given a few KiB only.

The result is the same as for the whole text at once. A match begins in its slice and may look `MARGIN` characters
beyond it. No rule needs more, except one whose last part may repeat without limit (`test_slices` reads that from the
patterns); its match is followed to the end, slice by slice.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from msgspec import Struct

SLICE = 16 << 10  # characters; the slowest rule takes 0.6 us for each
MARGIN = 4 << 10  # characters


class Open(Struct, frozen=True):
    """The continuation of an unlimited match: the part that repeats, and the part that may follow."""

    rest: re.Pattern[str]
    then: re.Pattern[str] | None = None


class Span(Struct, frozen=True):
    """A match with its end in the whole text."""

    found: re.Match[str]
    end: int
    then: re.Match[str] | None = None


def spans(pattern: re.Pattern[str], text: str, opened: Open | None = None, margin: int = MARGIN) -> Iterator[Span]:
    """Like `finditer` of a pattern that never matches nothing."""
    at = 0
    for cut in range(SLICE, len(text) + SLICE, SLICE):
        while at < cut and (found := pattern.search(text, at, cut + 2 * margin)) and found.start() < cut:
            span = whole(found, opened, margin)
            at = span.end
            yield span
        at = max(at, cut)


def whole(found: re.Match[str], opened: Open | None, margin: int) -> Span:
    """A match with all that belongs to it, also beyond what it was shown."""
    text, end = found.string, found.end()
    if opened is None or end < found.endpos - margin or found.endpos == len(text):
        return Span(found, end)
    while more := opened.rest.match(text, end, end + SLICE):
        if more.end() == end:
            break
        end = more.end()
    then = opened.then.match(text, end) if opened.then else None
    return Span(found, then.end() if then else end, then)


def replaced(text: str, found: Iterator[Span], left: Callable[[Span], str]) -> str:
    """`text` with `left` in place of each span; joined in between, because joining millions takes long too."""
    pieces, lately, read = [], [], 0
    for span in found:
        lately += [text[read : span.found.start()], left(span)]
        read = span.end
        if len(lately) > SLICE:
            pieces.append("".join(lately))
            lately = []
    return "".join((*pieces, *lately, text[read:])) if read else text


def occurs(part: str, text: str) -> bool:
    """Like `part in text`."""
    return any(text.find(part, at, at + 8 * SLICE + len(part)) >= 0 for at in range(0, len(text), 8 * SLICE))


def by_slices(change: Callable[[str], str], text: str) -> str:
    """`text` changed by something that looks at each character alone."""
    return "".join([change(text[at : at + SLICE]) for at in range(0, len(text), SLICE)])
