"""The ```console blocks of the documents: what they say to type, and what they say comes back.

A block marked ```console test is run by the tests: lines that begin with `$ ` are typed, the lines below are what
comes back, where `…` stands for anything. One marked ```console test up runs beside `understudy up`. In every other
block the commands of understudy must at least exist, with the options shown.
"""

from __future__ import annotations

import re
import shlex
from typing import NamedTuple

FENCE = re.compile(r"^```console(?P<marks>[^\n]*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
PUNCTUATION = frozenset("();<>|&")
PLAIN = re.compile(r"understudy [\w .:/=,?\"'-]+")  # a shell would make nothing else of it


class Exchange(NamedTuple):
    """One command and the answer that the document shows."""

    command: str
    answer: str


class Block(NamedTuple):
    """One fenced block: where it stands, how it is marked, what is typed in it."""

    where: str
    marks: tuple[str, ...]
    exchanges: tuple[Exchange, ...]


def exchanges(text: str) -> tuple[Exchange, ...]:
    """The commands of a block, each with the lines below it."""
    parts = re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]
    return tuple(Exchange(*(part.split("\n", 1) if "\n" in part else (part, ""))) for part in parts)


def blocks(documents: dict[str, str]) -> list[Block]:
    """Every console block, in order."""
    return [
        Block(
            f"{name}:{text[: found.start()].count(chr(10)) + 1}",
            tuple(found["marks"].split()),
            exchanges(found["text"]),
        )
        for name, text in documents.items()
        for found in FENCE.finditer(text)
    ]


def is_as_shown(shown: str, came: str) -> bool:
    """Whether the answer is the one shown; `…` is anything, and no answer shown is any answer."""
    if not shown.strip():
        return True
    parts = (re.escape(part) for part in shown.strip().split("…"))
    return re.fullmatch(".*?".join(parts), came.strip(), re.DOTALL) is not None


def our_commands(command: str) -> list[list[str]]:
    """The words after `understudy` in a line that a person types, once for each time it is called."""
    lexer = shlex.shlex(command, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    calls: list[list[str]] = []
    is_open = False
    for word in lexer:
        if word == "understudy" and not is_open:
            calls.append([])
            is_open = True
        elif PUNCTUATION.issuperset(word):
            is_open = False
        elif is_open:
            calls[-1].append(word)
    return calls


def plain_words(command: str) -> tuple[str, ...]:
    """The words after `understudy` in a line that calls it once and is nothing else; none if a shell has to read it."""
    return tuple(shlex.split(command)[1:]) if PLAIN.fullmatch(command) else ()
