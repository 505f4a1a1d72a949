"""Redaction is linear in the length of the text, whatever a stranger writes: read from the patterns themselves.

From each place where a match may begin, the engine takes a bounded number of steps, or it goes on only as long as
the match cannot fail any more (and what was matched is not read again).
"""

from __future__ import annotations

from re import _constants as c
from re import _parser

import pytest

from tests.project.patterns import REPEATS, cost
from understudy.redact import Redactor
from understudy.redact.redactor import RULES
from understudy.redact.rules import MASK

STEPS_MAX = 200_000  # per place of beginning; nearly all stay below 3,000
each_rule = pytest.mark.parametrize("rule", RULES, ids=[rule.kind for rule in RULES])


@each_rule
def test_a_try_takes_a_bounded_number_of_steps(rule):
    for pattern in (rule.pattern, *getattr(rule, "forms", ())):
        assert cost(pattern).steps <= STEPS_MAX


def beginnings(pattern: str) -> str:
    """The fixed characters with which a pattern begins."""
    chars = []
    for op, args in _parser.parse(pattern):
        if op is c.LITERAL:
            chars.append(chr(args))
        elif op is c.IN and args[0][0] is c.RANGE:
            chars.append(chr(args[0][1][0]))
        elif op in REPEATS and args[2][0][0] is c.IN and args[2][0][1][0][0] is c.RANGE:
            chars.append(chr(args[2][0][1][0][1][0]) * max(1, min(args[1], 40)))
        else:
            break
    return "".join(chars)


@each_rule
def test_what_a_stranger_repeats_a_thousand_times_is_read_in_one_go(rule):
    for piece in {*rule.hints, *(hint.upper() for hint in rule.hints), beginnings(rule.pattern) or "a"}:
        for text in (piece * 3_000, (piece + " ") * 3_000, (piece + "=") * 3_000, piece + "A1" * 8_000):
            rule.clean(text)


def test_a_megabyte_of_the_worst_is_read_in_one_go():
    redactor = Redactor(["correct horse battery staple"])
    for piece in (
        "eyJ",
        "password=",
        '"password":"',
        '\\"token\\": \\"',
        "://a:",
        "-----BEGIN PRIVATE KEY-----\n",
        "a.",
        "0",
    ):
        text = piece * ((1 << 20) // len(piece))
        assert len(redactor.clean(text)) <= len(text) + text.count(piece) * len(MASK)
