"""A long text is cleaned slice by slice, and what comes out is what one look at the whole gives."""

from __future__ import annotations

import random
from re import _constants as c
from re import _parser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.project.patterns import REPEATS
from tests.redact.corpus import GONE, STAYS
from understudy.redact import Redactor, names, redactor, rules, slices
from understudy.redact.redactor import RULES
from understudy.redact.slices import MARGIN, SLICE, Open, Span, occurs, spans, whole

SECRET = "correct horse/battery staple"
LONG = (SLICE + 2 * MARGIN) * 3
each_rule = pytest.mark.parametrize("rule", RULES, ids=[rule.kind for rule in RULES])


def cleaned_whole(text: str) -> str:
    """By one call for each pattern."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (slices, rules, names, redactor):
            patch.setattr(module, "SLICE", 1 << 30)
        return Redactor([SECRET]).clean(text)


def width(tree) -> int:
    """The characters that a match looks at, at most, if what has no end is met once."""
    total = 0
    for op, args in tree:
        if op in REPEATS:
            total += width(args[2]) * (1 if args[1] is c.MAXREPEAT else args[1])
        elif op is c.SUBPATTERN:
            total += width(args[3])
        elif op is c.BRANCH:
            total += max(width(branch) for branch in args[1])
        elif op in (c.ASSERT, c.ASSERT_NOT):
            total += width(args[1])
        elif op is c.ATOMIC_GROUP:
            total += width(args)
        else:
            total += 1
    return total


@each_rule
def test_no_rule_looks_further_ahead_than_the_margin(rule):
    for pattern in (rule.pattern, *getattr(rule, "forms", ())):
        assert width(_parser.parse(pattern)) < MARGIN


@each_rule
def test_a_match_without_end_is_followed_to_its_end(rule):
    if isinstance(rule, rules.Rule) and rule.opened() is None:
        assert _parser.parse(rule.pattern).getwidth()[1] < MARGIN


@each_rule
def test_what_follows_a_match_without_end_is_what_it_ends_with(rule):
    opened = rules.open_end(rule.pattern) if isinstance(rule, rules.Rule) else None
    if opened is not None:
        parts = [*_parser.parse(rule.pattern)][: -1 if opened.then else None]
        (_, (_, _, repeated)), (_, (_, _, followed)) = parts[-1], _parser.parse(opened.rest.pattern)[-1]
        assert [*repeated] == [*followed]


placed = st.tuples(st.sampled_from([case.text for case in GONE] + [SECRET, *STAYS]), st.integers(0, 60))


@given(st.lists(placed, min_size=1, max_size=3), st.sampled_from(["word ", "a.b\n", "é", 'x: "', "1"]))
def test_a_secret_over_a_cut_goes_as_any_other(found, filler):
    text = ""
    for at, (secret, before) in enumerate(found, 1):
        missing = SLICE * at - len(text) - before
        text += (filler * missing)[:missing] + " " + secret
    text += " the end"
    assert Redactor([SECRET]).clean(text) == cleaned_whole(text)


HEADS = {
    "sk-ant-": "a1_",
    "Bearer ": "aB1",
    'password="': "a b,1",
    "password='": "a\\'b",
    'password: "x': '\\"\\\\a',
    '{\\"token\\": \\"a1b2c3d4': "e\\\\n5",
    "token=": "ab1",
    "eyJhbGciOi": "aB1",
    "cookie: a=": "b; c=1",
    "://u:": "p",
    "curl -u a:": "b1",
    "-----BEGIN PRIVATE KEY-----\n": "A" * 64 + "\n",
}
ENDS = ("", " the end", '" the end', "' the end", '\\" the end', ".eyJhYmMi.c2ln end", "-----END PRIVATE KEY----- end")


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("end", ENDS)
def test_a_secret_longer_than_slices_goes_whole(head, end):
    for more in range(3):
        text = "x " * (SLICE // 2 - 20) + head + HEADS[head] * (LONG // len(HEADS[head]) + more) + end
        assert Redactor().clean(text) == cleaned_whole(text)


def test_random_pieces_of_secrets_are_cleaned_as_a_whole():
    chosen = random.Random(1)
    pieces = [*(case.text for case in GONE), *HEADS, *HEADS.values(), *ENDS, "\n", " ", "=", '"', "\\", "a1" * 3000]
    for _ in range(25):
        text = "".join(chosen.choice(pieces) for _ in range(600))[: 4 * SLICE]
        assert Redactor([SECRET]).clean(text) == cleaned_whole(text)


class Watched:
    """A pattern that notes how much it is shown."""

    def __init__(self, pattern: str) -> None:
        self.pattern = rules.compiled(pattern)
        self.shown: list[int] = []

    def search(self, text, at, end):
        """As a pattern does."""
        self.shown.append(min(end, len(text)) - at)
        return self.pattern.search(text, at, end)

    def match(self, text, at, end):
        """As a pattern does."""
        self.shown.append(min(end, len(text)) - at)
        return self.pattern.match(text, at, end)


def test_no_call_is_shown_more_than_a_slice_and_its_margins():
    pattern, rest = Watched("b{3,}+"), Watched("b*+")
    text = "a" * LONG + "b" * LONG + "a" * LONG
    assert [span.end for span in spans(pattern, text, Open(rest))] == [2 * LONG]
    assert len(rest.shown) >= 3
    assert max(pattern.shown + rest.shown) <= SLICE + 2 * MARGIN


def test_what_is_short_needs_no_following():
    found = rules.compiled("b+").match("bb")
    assert whole(found, None, MARGIN) == Span(found, 2)


def test_a_hint_over_a_cut_occurs():
    for at in range(8 * SLICE - 8, 8 * SLICE + 2):
        assert occurs("-needle-", "x" * at + "-needle-" + "x")
    assert not occurs("-needle-", "x" * 20 * SLICE)
