"""A small reader of PromQL: enough to say which metrics and labels an expression names, and that its brackets close."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

_TOKEN = re.compile(
    r"""\s*(?: (?P<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*') | (?P<span>\[[^\]]*\]) | (?P<name>[a-zA-Z_:][\w:]*)
    | (?P<number>\d+(?:\.\d+)?(?:e[+-]?\d+)?) | (?P<sign>=~|!~|!=|==|<=|>=|[-+*/%^<>=(){},]) )""",
    re.VERBOSE,
)
_SPAN = re.compile(r"\[(?:\d+[smhdw]|\$__rate_interval)\]")
_PAIRS = {")": "(", "}": "{"}
WORDS = {"by", "without", "on", "ignoring", "group_left", "group_right", "and", "or", "unless", "bool", "offset"}
FUNCTIONS = {
    "absent", "avg", "count", "delta", "histogram_quantile", "increase", "label_values", "max", "min", "rate", "sum",
    "topk",
}  # fmt: skip


class Named(NamedTuple):
    """A metric where it is named, with what it says of labels: (label, operator, value)."""

    metric: str
    matchers: tuple[tuple[str, str, str], ...]


class Expression:
    """What one expression names; ValueError if it cannot be one."""

    def __init__(self, text: str) -> None:
        self._tokens = list(_tokens(text))
        self.metrics: list[Named] = []
        self.grouped: set[str] = set()  # labels of `by (…)`
        _check_brackets([token for _, token in self._tokens])
        self._read()

    def _read(self) -> None:
        tokens, at = self._tokens, 0
        while at < len(tokens):
            kind, token = tokens[at]
            following = tokens[at + 1][1] if at + 1 < len(tokens) else ""
            at += 1
            if kind != "name" or token in ("and", "or", "unless", "bool", "offset"):
                continue
            if token in WORDS:
                labels, at = self._until(at, ")")
                self.grouped |= {word for part, word in labels if part == "name"}
            elif token in FUNCTIONS:
                if following not in ("(", "by", "without"):
                    raise ValueError(f"{token} without its arguments")
            elif following == "(":
                raise ValueError(f"unknown function {token}")
            elif following == "{":
                inside, at = self._until(at, "}")
                self.metrics.append(Named(token, _matchers(inside)))
            elif token != "instance" or not self.metrics:  # the second argument of label_values
                self.metrics.append(Named(token, ()))

    def _until(self, at: int, end: str) -> tuple[list[tuple[str, str]], int]:
        """The tokens within the bracket that opens at `at`, and the place behind it."""
        close = next(n for n in range(at, len(self._tokens)) if self._tokens[n][1] == end)
        return self._tokens[at + 1 : close], close + 1


def _tokens(text: str) -> Iterator[tuple[str, str]]:
    at, text = 0, text.strip()
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None or found.end() == at:
            raise ValueError(f"not understood: {text[at : at + 30]!r}")
        kind = str(found.lastgroup)
        token = found[kind]
        if kind == "span" and not _SPAN.fullmatch(token):
            raise ValueError(f"no span of time: {token}")
        yield kind, token
        at = found.end()


def _check_brackets(tokens: list[str]) -> None:
    opened: list[str] = []
    for token in tokens:
        if token in _PAIRS.values():
            opened.append(token)
        elif token in _PAIRS and (not opened or opened.pop() != _PAIRS[token]):
            raise ValueError(f"{token} closes nothing")
    if opened:
        raise ValueError(f"{opened[-1]} is not closed")


def _matchers(inside: list[tuple[str, str]]) -> tuple[tuple[str, str, str], ...]:
    parts = [token for _, token in inside if token != ","]
    if len(parts) % 3:
        raise ValueError(f"no matchers: {parts}")
    return tuple((parts[n], parts[n + 1], parts[n + 2].strip("\"'")) for n in range(0, len(parts), 3))
