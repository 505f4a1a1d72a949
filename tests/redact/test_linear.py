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
from understudy.redact.rules import MASK, compiled

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


def test_half_a_megabyte_of_the_worst_is_read_in_one_go():
    redactor = Redactor(["correct horse battery staple"])
    for piece in (
        "eyJ",
        "eyJ-",
        "password=",
        '"password":"',
        '\\"token\\": \\"',
        "://a:",
        "-----BEGIN PRIVATE KEY-----\n",
        "a.",
        "0",
    ):
        text = piece * ((1 << 19) // len(piece))
        assert len(redactor.clean(text)) <= len(text) + text.count(piece) * len(MASK)


@pytest.mark.parametrize("before", ["", " ", "-", "\\n", "%0A", "\x1b[31m", "Bearer ", "eyJ-", "xeyJ-", "a=", '{"t":"'])
def test_a_jwt_is_seen_wherever_a_word_begins(before):
    token = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl"
    said = Redactor().clean(f"{before}{token} end")
    assert "eyJzdWIi" not in said
    assert said.endswith(f"{MASK} end")


def test_the_head_of_a_jwt_is_read_over_once_however_many_begin_in_it():
    """Each of them read up to 2,000 characters: 512 KiB took seconds."""
    (jwt,) = (rule for rule in RULES if rule.kind == "JWT")
    pattern = compiled(jwt.pattern)
    text = "eyJ-" * 1000 + "." + "eyJ" * 1000
    assert [found.span() for found in pattern.finditer(text)] == [(0, len(text))]
    assert [found.span() for found in pattern.finditer("eyJ-" * 1000)] == [(0, 4000)]
    assert jwt.clean("eyJ-" * 1000) == "eyJ-" * 1000
    assert jwt.clean("eyJ" + "a" * 5000 + ".eyJab") == MASK


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("---token abcd1234", "abcd1234"),
        ("--a--token abcd1234", "abcd1234"),
        ("X-Max-Token: abcd1234efgh", "abcd1234efgh"),
        ("x-x-api-key: abcd1234efgh", "abcd1234efgh"),
        ("curl -s http://h; curl -sS -u me:abcd1234 http://h", "abcd1234"),
        ("curl http://h --user me:abcd1234", "abcd1234"),
        ("token token: abcd1234efgh", "abcd1234efgh"),
    ],
)
def test_a_beginning_that_leads_to_nothing_hides_none_that_follows(text, secret):
    assert secret not in Redactor().clean(text)
