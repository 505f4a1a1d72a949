"""Redaction is linear in the length of the text, whatever a stranger writes: read from the patterns themselves.

From each place where a match may begin, the engine takes a bounded number of steps, or it goes on only as long as
the match cannot fail any more (and what was matched is not read again).
"""

from __future__ import annotations

from re import _constants as c
from re import _parser

import pytest

from understudy.redact import Redactor
from understudy.redact.redactor import RULES
from understudy.redact.rules import MASK

STEPS_MAX = 200_000  # per place of beginning; nearly all stay below 3,000
REPEATS = (c.MAX_REPEAT, c.MIN_REPEAT, c.POSSESSIVE_REPEAT)
each_rule = pytest.mark.parametrize("rule", RULES, ids=[rule.kind for rule in RULES])


class Cost:
    """Steps of one try, at most; `is_open`: what comes last has no end."""

    def __init__(self, steps: int, *, can_fail: bool, is_open: bool = False) -> None:
        self.steps = steps
        self.can_fail = can_fail
        self.is_open = is_open


def of_sequence(items) -> Cost:
    steps, can_fail, is_open = 0, False, False
    for item in reversed(list(items)):
        cost = of_item(item)
        if cost.is_open:
            assert not can_fail, f"what follows {item} may fail after any number of steps"
            is_open = True
        op, args = item
        spread = 1
        if op in (c.MAX_REPEAT, c.MIN_REPEAT):
            spread = args[1] - args[0] + 1  # each length is tried with all that follows
        if op is c.BRANCH:
            spread = len(args[1])
        steps = cost.steps + spread * steps
        can_fail = can_fail or cost.can_fail
    return Cost(steps, can_fail=can_fail, is_open=is_open)


def of_item(item) -> Cost:
    op, args = item
    if op in REPEATS:
        return of_repeat(op, *args)
    if op is c.ATOMIC_GROUP and len(args) == 1 and args[0][0] is c.MAX_REPEAT:
        # as good as a possessive one, which Python before 3.11.5 gets wrong for groups
        return of_repeat(c.POSSESSIVE_REPEAT, *args[0][1])
    if op in (c.SUBPATTERN, c.ATOMIC_GROUP):
        return of_sequence(args[-1] if op is c.SUBPATTERN else args)
    if op is c.BRANCH:
        costs = [of_sequence(branch) for branch in args[1]]
        return Cost(
            sum(cost.steps for cost in costs),
            can_fail=all(cost.can_fail for cost in costs),
            is_open=any(cost.is_open for cost in costs),
        )
    if op in (c.ASSERT, c.ASSERT_NOT):
        inner = of_sequence(args[1])
        assert not inner.is_open
        return Cost(inner.steps, can_fail=True)
    return Cost(1, can_fail=True)


def of_repeat(op, least, most, inner) -> Cost:
    cost = of_sequence(inner)
    has_end = most is not c.MAXREPEAT
    assert has_end or op is c.POSSESSIVE_REPEAT, f"{inner} is tried in every length"
    assert not (has_end and cost.is_open and most > 8)
    steps = cost.steps * (most if has_end else max(least, 1))
    return Cost(steps, can_fail=least > 0, is_open=not has_end or cost.is_open)


@each_rule
def test_a_try_takes_a_bounded_number_of_steps(rule):
    for pattern in (rule.pattern, *getattr(rule, "forms", ())):
        assert of_sequence(_parser.parse(pattern)).steps <= STEPS_MAX


@pytest.mark.parametrize(
    "pattern", ["(a+)+b", "a*b", "a++b", "(?:a|a++)b", "(?:a++b)++", "x{0,900}y{0,900}z", "(?=a++)b"]
)
def test_a_pattern_that_is_not_linear_is_seen(pattern):
    with pytest.raises(AssertionError):
        assert of_sequence(_parser.parse(pattern)).steps <= STEPS_MAX


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
