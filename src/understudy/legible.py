r"""Text from outside without control characters that could steer a terminal: for logs, terminals and notices.

Whole terminal sequences go (a colour must not leave `[1;32m` behind); whatever else steers a terminal, ends a line or
turns the order of writing around is shown escaped, as `\x9b` or `\u202e`. Everything is linear: what a sequence
carries ends at the next character that could begin one. Sources: ECMA-48 5.4 and 8.3, xterm's ctlseqs, UAX 9.
"""

from __future__ import annotations

import re
from collections.abc import Callable

_STRING = r"[^\x00-\x08\x0b-\x1f\x7f-\x9f]*+(?:\x07|\x1b\\|\x9c)"  # a title, a link, a picture: up to its terminator
_SEQUENCE = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*+[ -/]*+(?:[@-~]|\Z)"  # CSI: colours, movements; the last one may be cut off
    rf"|(?:\x1b[\]PX^_]|[\x9d\x90\x98\x9e\x9f]){_STRING}"  # OSC, DCS, SOS, PM, APC
    r"|\x1b[ -/]++[0-~]"  # character sets, as `tput sgr0` sends them
    r"|\x1b[0-OQ-WYZ\\`-~]"  # two characters: keypad modes, resets
)
_LONE_HALF = re.compile("[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]")
_ENDS_A_LINE = "\t\n\u200b\u200e\u200f\u061c"  # or is invisible in it; in whole texts they are of use
_RANGES = (
    (0x00, 0x08),
    (0x0B, 0x1F),
    (0x7F, 0x9F),
    (0x2028, 0x202E),
    (0x2060, 0x206F),
    (0xFFF9, 0xFFFB),
    (0xFEFF, 0xFEFF),
)
_STEERING = frozenset(chr(code) for first, last in _RANGES for code in range(first, last + 1))
_STEERING_A_LINE = _STEERING | frozenset(_ENDS_A_LINE)
_STEERING_IN_JSON = _STEERING_A_LINE - frozenset("\t\n")  # which stand between its values only
_NAMES = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def text(raw: str) -> str:
    """`raw` with its lines and tabs, and nothing else that steers."""
    if raw.isprintable():
        return raw
    kept = without_sequences(raw).replace("\r\n", "\n").replace("\r", "\n")
    return _replaced(kept, _STEERING, _escape)


def line(raw: str) -> str:
    """`raw` as one line: its own line breaks are escaped too."""
    return raw if raw.isprintable() else _replaced(without_sequences(raw), _STEERING_A_LINE, _escape)


def json(encoded: str) -> str:
    """A JSON document that says the same, with escapes of JSON in place of what steers; half a character is U+FFFD."""
    return encoded if encoded.isprintable() else _replaced(encoded, _STEERING_IN_JSON, _escape_in_json)


def without_sequences(raw: str) -> str:
    """`raw` without the sequences that terminals obey."""
    return _SEQUENCE.sub("", raw) if "\x1b" in raw or not raw.isascii() else raw


def whole_characters(raw: str) -> str:
    """`raw` with U+FFFD for each half of a surrogate pair that stands alone: no output takes those."""
    try:
        raw.encode()
    except UnicodeEncodeError:
        return _LONE_HALF.sub("\ufffd", raw).encode("utf-16", "surrogatepass").decode("utf-16")
    return raw


def _replaced(raw: str, steering: frozenset[str], escape: Callable[[str], str]) -> str:
    """By kinds of characters, of which there are few, and not by places, of which there may be millions."""
    kept = whole_characters(raw)
    for char in steering.intersection(kept):
        kept = kept.replace(char, escape(char))
    return kept


def _escape(char: str) -> str:
    code = ord(char)
    return _NAMES.get(char) or (f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}")  # noqa: PLR2004 - two digits


def _escape_in_json(char: str) -> str:
    return f"\\u{ord(char):04x}"
