"""The text of searches: the one that people are shown, without regard to case, width or form of characters.

The rule of every store and of the live log. A store may pass over what cannot match (`plain_part`,
`telling_characters`).
Absent from here: the JSON in which texts are stored, with its quotes, escapes and names of fields.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from sys import maxunicode
from typing import Any
from unicodedata import combining, is_normalized, normalize

import msgspec

from understudy import legible
from understudy.log import pretty_field

PIECE_CHARS = 1024  # normalised in one go: the order of combining marks takes quadratic time (UAX 15)
_JOINS_MAX = 64  # so many characters of a piece may belong to the last one of it
_PLAIN = re.compile(r"[0-9a-z]{1,32}+")
_ORIGINS_MAX = 8
_TELLING_MAX = 3
_APART = "\0"  # between two texts: no needle reaches from one into the next


def folded(text: str) -> str:
    """`text` as it is compared: compatible forms are one (NFKC), so are cases; a line break is a blank."""
    if "\x1b" in text:
        text = legible.without_sequences(text)
    if not text.isascii():
        text = "".join(map(_normal, _pieces(text)))
    if "\n" in text or "\t" in text:
        text = text.replace("\r\n", " ").replace("\n", " ").replace("\t", " ")
    return text.casefold()


def _normal(piece: str) -> str:
    return piece if is_normalized("NFKC", piece) else normalize("NFKC", piece)


def _pieces(text: str) -> Iterator[str]:
    """Parts of some 1,000 characters, none of which ends in the middle of what is seen as one character."""
    start = 0
    while start < len(text):
        end = start + PIECE_CHARS
        limit = min(end + _JOINS_MAX, len(text))
        while end < limit and _joins(text[end]):
            end += 1
        yield text[start:end]
        start = end


def _joins(char: str) -> bool:
    """True if it makes one character with the one before: marks, half-width voice marks, parts of Hangul syllables."""
    return combining(char) > 0 or char in "\uff9e\uff9f" or "\u1160" <= char <= "\u11ff"


def plain_part(needle: str) -> str:
    """A word of a folded needle that stands in every ASCII text with the needle in it, in any case; "" for none."""
    return max(_PLAIN.findall(needle), key=len, default="")


def telling_characters(needle: str) -> tuple[str, ...]:
    """Sets of characters; a text with the folded needle in it has at least one of each set in it, as it is stored."""
    sets = {_origins_of(char) for char in needle if not char.isascii()}
    few = [chars for chars in sets if len(chars) <= _ORIGINS_MAX]
    return tuple(sorted(few, key=lambda chars: (len(chars), -ord(chars[0])))[:_TELLING_MAX])  # ideographs first


def _origins_of(char: str) -> str:
    """Everything that may have become this character: it, other forms of it, and what it is composed on."""
    base = normalize("NFD", char)[0]
    return char + _other_forms().get(char, "") + (_origins_of(base) if base != char else "")


@cache
def _other_forms() -> dict[str, str]:
    """By what folding makes of them. Some 15,000 characters; read once, in some 0.3 s."""
    forms: dict[str, str] = {}
    for char in filter(str.isprintable, map(chr, range(maxunicode + 1))):
        for part in set(normalize("NFKC", char).casefold()) - {char}:
            forms[part] = forms.get(part, "") + char
    return forms


def task_text(task_id: str, source: str, spec: str) -> str:
    """The searched text of a task: the id, the source, and each text and number that was enqueued."""
    try:
        enqueued = msgspec.json.decode(spec)
    except (ValueError, RecursionError):  # of a row that cannot be read the rest is still found
        enqueued = None
    return folded(_APART.join((task_id, source, *_values(enqueued))))


def event_text(name: str, component: str, message: str, fields: Mapping[str, Any]) -> str:
    """The searched text of an event: its line of the log as it is shown, and its name."""
    shown = "".join(f" {_field(*pair)}" for pair in fields.items() if pair[1] is not None)
    return folded(f"{name} [{component}] {message}{shown}")


def _field(name: str, value: Any) -> str:
    """As the log shows it, and the texts in it without quotes and escapes if it has any there."""
    shown = pretty_field(name, value)
    return _APART.join((shown, *_values(value))) if '"' in shown else shown


def _values(value: Any) -> Iterator[str]:
    """The texts and numbers in a JSON value, not its names; it is nested as little as what the API takes."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for inner in value:
            yield from _values(inner)
    elif isinstance(value, str):
        yield value
    elif value is not None and not isinstance(value, bool):
        yield msgspec.json.encode(value).decode()
