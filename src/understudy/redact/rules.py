"""Rules of redaction, and the limits that keep all of them linear.

Every line of every log passes through here, and what strangers wrote. So a rule is tried only where one of its hints
occurs (a plain search), and its pattern may look at a character only a bounded number of times: repeats are
possessive, or end after a few hundred characters. `tests/redact/test_linear.py` reads that from the parsed patterns.
"""

from __future__ import annotations

import re
from functools import cache

import msgspec

from understudy.redact.slices import SLICE, Open, Span, replaced, spans

MASK = "[REDACTED]"
KEPT = r"\1[REDACTED]"  # for rules whose first group is what stands before the secret

# Where a word may begin although a letter stands before it: after an escape of JSON, of a URL or of a terminal.
_AFTER_ESCAPE = re.compile(r"(?:\\[bfnrt]|%[0-9A-Fa-f]{2}|\x1b\[[0-9;]{0,8}m)\Z")
_ESCAPE_CHARS_MAX = 12
_OPEN_END = re.compile(
    r"(?<!\\)(\[(?:\\.|[^\]\\]){1,99}\])\{[0-9]{0,4},\}\+((?:=\{0,2\})?)\Z"
)  # `[…]{8,}+`, `={0,2}` behind it


class Rule(msgspec.Struct, frozen=True):
    """One kind of secret: where to look for it, its form, and what is left of it."""

    kind: str
    hints: tuple[str, ...]  # in lower case; at least one of them is in every match
    pattern: str
    left: str = MASK
    is_word: bool = False  # it begins only where no word is going on
    rest: str = ""  # how a match goes on that has no end, and what may follow; nearly always read from `pattern`
    then: str = ""

    def clean(self, text: str) -> str:
        """`text` without secrets of this kind."""
        pattern = compiled(self.pattern)
        if len(text) > SLICE:
            return replaced(text, spans(pattern, text, self.opened()), self._left)
        return pattern.sub(self._replaced if self.is_word else self.left, text)

    def opened(self) -> Open | None:
        """The continuation of a match that is longer than a slice; None if all are short."""
        if self.rest:
            return Open(compiled(self.rest), compiled(self.then))
        return open_end(self.pattern)

    def _left(self, span: Span) -> str:
        is_none = self.is_word and not _is_masked(span)
        if is_none:
            return span.found.string[span.found.start() : span.end]
        return MASK if self.left == MASK else span.found[1] + MASK

    def _replaced(self, found: re.Match[str]) -> str:
        return self._left(Span(found, found.end()))


def _is_masked(span: Span) -> bool:
    """True if a word begins there and the match has its end; one without was found only so that it is read once."""
    found = span.found
    has_end = found.re.groups == 0 or found.lastindex is not None or (span.then is not None and span.then[1])
    return bool(has_end) and may_begin(found.string, found.start())


def may_begin(text: str, at: int) -> bool:
    """True if a word begins there: the character before belongs to none, or to an escape."""
    before = text[at - 1 : at]
    if not (before == "_" or before.isalnum()):
        return True
    return _AFTER_ESCAPE.search(text, max(0, at - _ESCAPE_CHARS_MAX), at) is not None


def beginning_word(prefix: str) -> str:
    """The pattern of a prefix where `may_begin` is true, for what goes on without end and may be read only once."""
    colours = "|".join(rf"(?<=\x1b\[[0-9;]{{{count}}}m{prefix})" for count in range(9))
    return rf"{prefix}(?:(?<!\w{prefix})|(?<=\\[bfnrt]{prefix})|(?<=%[0-9A-Fa-f]{{2}}{prefix})|{colours})"


def open_end(pattern: str) -> Open | None:
    """The continuation of a match whose pattern ends with an unlimited run of one kind of character."""
    end = _OPEN_END.search(pattern)
    if end is None:
        return None
    return Open(compiled(f"(?<!=){end[1]}*+"), compiled(end[2])) if end[2] else Open(compiled(f"{end[1]}*+"))


@cache
def compiled(pattern: str) -> re.Pattern[str]:
    """Compiled when first needed: most programs never meet most kinds."""
    return re.compile(pattern)
