"""Cuts a text that is cleaned only afterwards: half a secret is not recognised, so no word is cut in two."""

from __future__ import annotations

# of a secret; what is behind these signs is another value of JSON
_IN_WORDS = frozenset(map(chr, range(0x21, 0x7F))) - frozenset("\"',;")


def beginning(text: str, chars_max: int) -> str:
    """`text`, or the words of it that are whole within `chars_max` characters."""
    at = min(chars_max, len(text))
    if at < len(text) and text[at] in _IN_WORDS:
        while at and text[at - 1] in _IN_WORDS:
            at -= 1
    return text[:at]
