"""Output for a terminal: tables, instants and colours, without control characters from outside."""

from __future__ import annotations

import os
import re
import sys
import unicodedata
from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import chain
from typing import Any, TextIO

from understudy import legible
from understudy.clock import SystemClock, parse_iso
from understudy.spans import span
from understudy.texts import t

COLUMNS, COLUMNS_MIN = 100, 40  # of a terminal that does not say; of a table
PIPED_COLUMNS = 240  # of a line that goes to a file or a program; `--json` has all of it
ONE_PIECE_CHARS = 1_024  # PIPE_BUF is 4,096 bytes, a character has at most 4
CELL_COLUMNS_MAX = 256  # of a column before the last: names and ids are shorter
_CODES = {"red": "31", "green": "32", "yellow": "33", "blue": "34", "dim": "2", "bold": "1"}
STATE_COLOURS = {
    "done": "green", "failed": "red", "claimed": "blue", "cancelled": "dim",
    "healthy": "green", "late": "yellow", "down": "red", "stuck": "yellow", "recovered": "green",
    "asleep": "dim", "paused": "dim", "draining": "dim", "stopped": "dim",
    "warning": "yellow", "critical": "red", "debug": "dim",
}  # fmt: skip
_COLOUR = re.compile(r"\x1b\[[0-9;]{0,16}m")
_OUR_CODES = re.compile(r"(\x1b\[(?:[012]|3[1-4]|31;1)m)")  # of `paint`


def can_draw(stream: TextIO) -> bool:
    """True for a terminal that obeys control sequences."""
    return stream.isatty() and os.environ.get("TERM") not in ("dumb", "unknown")


def is_coloured(stream: TextIO) -> bool:
    """Colours only on a terminal that has them, and not with NO_COLOR (no-color.org)."""
    return can_draw(stream) and not os.environ.get("NO_COLOR")


def paint(text: str, colour: str, stream: TextIO | None = None) -> str:
    """`text` in a colour, if the stream shows any."""
    code = _CODES.get(colour)
    return f"\x1b[{code}m{text}\x1b[0m" if code and is_coloured(stream or sys.stdout) else text


def painted_state(word: str) -> str:
    """A state in its colour."""
    return paint(word, STATE_COLOURS.get(word, ""))


def say(text: str = "") -> None:
    """A line for stdout: what was asked for."""
    _put(text, sys.stdout)


def say_lines(lines: Iterable[str]) -> None:
    """Lines for people: a terminal wraps long ones by itself, for everything else it is done here; nothing is lost."""
    say("\n".join(lines if sys.stdout.isatty() else chain.from_iterable(map(wrapped, lines))))


def note(text: str) -> None:
    """A line for stderr: what a person should know and a script need not."""
    _put(text, sys.stderr)


def _put(text: str, stream: TextIO) -> None:
    """In one piece where a pipe takes it as one, because threads speak too.

    A longer text is written without its end first: Python 3.11 forgets a BrokenPipeError of one long write.
    """
    shown = _printable(text, stream)
    end = "\n"
    if len(shown) < ONE_PIECE_CHARS:
        shown, end = f"{shown}\n", ""
    print(shown, end=end, file=stream, flush=True)


def _printable(text: str, stream: TextIO) -> str:
    """The text with our own codes and no others, for a terminal: the last check, if nobody made it safe before."""
    if text.isprintable():
        return text
    if not stream.isatty():
        return legible.whole_characters(text)
    return "".join(part if at % 2 else legible.text(part) for at, part in enumerate(_OUR_CODES.split(text)))


def json_of(value: Any, *, indent: int | None = None) -> str:
    """`value` as JSON that no terminal obeys; in ASCII unless stdout is UTF-8, so that no encoding loses a part."""
    import json

    is_utf8 = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
    return legible.json(json.dumps(value, ensure_ascii=not is_utf8, indent=indent))


def say_json(value: Any) -> None:
    """One JSON document."""
    say(json_of(value, indent=2 if sys.stdout.isatty() else None))


def safe(text: Any) -> str:
    """One line that does not steer the terminal: for what came over the wire."""
    return legible.line(str(text).replace("\r\n", " ").replace("\n", " ").replace("\t", " "))


def safe_lines(text: str) -> str:
    """The same, with its lines kept."""
    return legible.text(text)


def columns(text: str) -> int:
    """The columns that `text` takes: two for an East Asian character, none for colours. Linear."""
    plain = _COLOUR.sub("", text) if "\x1b" in text else text
    return len(plain) if plain.isascii() else sum(map(_width, plain))


def _width(char: str) -> int:
    return 2 if unicodedata.east_asian_width(char) in "WF" else int(not unicodedata.combining(char))


def cut(text: str, width: int) -> str:
    """As much of `text` as fits, with … where something is missing; linear in what fits, not in the text."""
    taken = 0
    fits = 0  # characters that leave room for the …
    for at, char in enumerate(text):
        taken += _width(char)
        if taken > width:
            return text[:fits] + "…"
        fits = at + 1 if taken < width else fits
    return text


def wrapped(line: str) -> list[str]:
    """A line in pieces of at most PIPED_COLUMNS, each as far in as the line itself; linear."""
    indent = " " * min(len(line) - len(line.lstrip(" ")), COLUMNS_MIN)
    pieces = []
    start = taken = 0
    for at, char in enumerate(line):
        taken += _width(char)
        if taken > PIPED_COLUMNS:
            pieces.append(line[start:at])
            start, taken = at, len(indent) + _width(char)
    pieces.append(line[start:])
    return [pieces[0], *(indent + piece for piece in pieces[1:])]


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns side by side; the last one is cut: to the terminal's width, or to PIPED_COLUMNS."""
    if not rows:
        return ""
    rows = [[*(cell if "\x1b" in cell else cut(cell, CELL_COLUMNS_MAX) for cell in row[:-1]), row[-1]] for row in rows]
    widths = [max(columns(row[i]) for row in (head, *rows)) for i in range(len(head))]
    width = max(width_of(sys.stdout), COLUMNS_MIN) if sys.stdout.isatty() else PIPED_COLUMNS
    room = width - sum(widths[:-1]) - 2 * (len(head) - 1)
    lines = []
    for number, row in enumerate((head, *rows)):
        cells = [cell + " " * (widths[i] - columns(cell)) for i, cell in enumerate(row[:-1])]
        last = cut(row[-1], max(room, 10)) if "\x1b" not in row[-1] else row[-1]
        line = "  ".join((*cells, last)).rstrip()
        lines.append(paint(line, "dim") if number == 0 else line)
    return "\n".join(lines)


def width_of(terminal: TextIO) -> int:
    """Its columns; COLUMNS comes first, as in other programs."""
    try:
        return int(os.environ.get("COLUMNS", "")[:9]) or COLUMNS
    except ValueError:
        pass
    try:
        return os.get_terminal_size(terminal.fileno()).columns or COLUMNS
    except (OSError, ValueError):
        return COLUMNS


def ago(instant: str | None) -> str:
    """The time since an instant of the wire, by this machine's clock; – for none."""
    if not instant:
        return "–"
    return t("cli.ago", span=span(SystemClock().now_ms() - parse_iso(instant)))


def clock_time(instant: str) -> str:
    """An instant of the wire in local time, with milliseconds only where it is a story."""
    return f"{datetime.fromisoformat(instant).astimezone():%Y-%m-%d %H:%M:%S}"
