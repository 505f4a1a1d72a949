"""Splitting and cutting: within the limit, at good borders, and nothing lost."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.notify.fitting import clean, cost_of, cut, one_line, split, utf8, utf16

PIECES = [
    "a",
    "word ",
    "\n",
    "\n\n",
    "日本語",
    "。",
    "🔴",
    "👨‍👩‍👧",
    "é",
    "```",
    "```py\n",
    "`",
    "&",
    "<!channel>",
    "](",
    " ",
    "\t",
    "    x",
]
texts = st.one_of(st.text(max_size=400), st.lists(st.sampled_from(PIECES), max_size=200).map("".join))


def note(count: int) -> str:
    return f" …{count}"


def bare(text: str) -> str:
    """Without white space, which is trimmed at borders, and without the fences that are repaired there."""
    return "".join(text.replace("py", "").replace("`", "").split())


@given(texts, st.integers(40, 120), st.sampled_from([utf8, utf16]), st.booleans())
def test_every_part_fits_and_nothing_is_lost(text, limit, cost, is_fenced):
    parts = split(text, limit, cost, parts_max=1000, note=note, is_fenced=is_fenced)
    assert all(0 < cost_of(part, cost) <= limit for part in parts)
    assert all(part.strip() for part in parts)
    assert bare("".join(parts)) == bare(text)


@pytest.mark.parametrize("at", range(30, 50))
def test_a_border_never_halves_a_fence(at):
    parts = split("あ" * at + "```code```" + "い" * 60, 50, utf16, parts_max=9, note=note)
    assert [part for part in parts if part.count("`") % 3 or part.count("```") % 2] == []


def test_a_run_of_backticks_that_is_longer_than_a_part_is_split_all_the_same():
    parts = split("x" * 10 + "`" * 200, 50, utf16, parts_max=99, note=note)
    assert bare("".join(parts)) == "x" * 10


@given(texts, st.integers(40, 120), st.integers(1, 3))
def test_what_does_not_fit_is_counted(text, limit, parts_max):
    parts = split(text, limit, utf16, parts_max=parts_max, note=note, is_fenced=False)
    assert len(parts) <= parts_max
    assert all(cost_of(part, utf16) <= limit for part in parts)
    if parts and bare("".join(parts)) != bare(text):
        told = parts[-1].rpartition(" …")[2]
        lost = len(bare(text)) - len(bare("".join(parts).rpartition(" …")[0]))
        assert told.isdecimal()
        assert lost <= int(told) <= len(text)


@given(texts, st.integers(40, 120))
def test_code_blocks_are_closed_in_every_part(text, limit):
    for part in split(text, limit, utf16, parts_max=1000, note=note):
        assert part.count("```") % 2 == 0


def test_what_closes_a_block_that_nobody_closed_fits_too():
    text = "x" * 22 + "```" + "\U00010000" * 3
    assert cost_of(text, utf8) == 37
    parts = split(text, 40, utf8, parts_max=9, note=note)
    assert max(cost_of(part, utf8) for part in parts) <= 40
    assert bare("".join(parts)) == bare(text)


@pytest.mark.parametrize("limit", range(40, 80))
def test_what_closes_and_opens_a_code_block_counts(limit):
    parts = split("```python\n" + "x = 1\n" * 40 + "```", limit, utf16, parts_max=99, note=note)
    assert max(cost_of(part, utf16) for part in parts) <= limit
    assert sum(part.count("x = 1") for part in parts) == 40


def test_the_note_tells_how_many_characters_are_left():
    parts = split("x" * 300, 100, utf16, parts_max=2, note=note, is_fenced=False)
    shown = sum(part.count("x") for part in parts)
    assert parts[-1].endswith(f"x …{300 - shown}")
    assert shown > 190


def test_a_code_block_goes_on_in_its_language():
    code = "look:\n```python\n" + "x = 1\n" * 20 + "```\nthat is all"
    first, second, *_ = split(code, 80, utf16, parts_max=9, note=note)
    assert first.startswith("look:\n```python\nx = 1\n")
    assert first.endswith("x = 1\n```")
    assert second.startswith("```python\nx = 1\n")


@pytest.mark.parametrize(
    ("text", "first"),
    [("aaaa\nbbbb cc", "aaaa"), ("aaaaa bbbb", "aaaaa"), ("あああ。いいい", "あああ。"), ("abcdefghij", "abcdefgh")],
)
def test_borders_from_best_to_worst(text, first):
    assert split(text, 8 if text.isascii() else 5, utf16, parts_max=9, note=note, is_fenced=False)[0] == first


@pytest.mark.parametrize(("limit", "parts"), [(8, ["🔴🔴🔴🔴"]), (7, ["🔴🔴🔴", "🔴"]), (6, ["🔴🔴🔴", "🔴"])])
def test_a_surrogate_pair_counts_two_and_is_never_halved(limit, parts):
    assert split("🔴" * 4, limit, utf16, parts_max=9, note=note, is_fenced=False) == parts


@pytest.mark.parametrize(("limit", "parts"), [(9, ["日本語"]), (8, ["日本", "語"])])
def test_bytes_are_counted_at_code_points(limit, parts):
    assert split("日本語", limit, utf8, parts_max=9, note=note, is_fenced=False) == parts


def test_text_at_the_limit_is_one_part_and_one_more_makes_two():
    assert len(split("x" * 100, 100, utf16, parts_max=9, note=note, is_fenced=False)) == 1
    assert len(split("x" * 101, 100, utf16, parts_max=9, note=note, is_fenced=False)) == 2


def test_indentation_survives_a_border():
    assert split("if a:\n    b()\n    c()", 15, utf16, parts_max=9, note=note, is_fenced=False)[1] == "    c()"


def test_nothing_has_no_parts():
    assert split(" \n ", 10, utf16, parts_max=3, note=note) == []


@given(texts, st.integers(3, 50))
def test_cut_fits_and_shows_that_it_cut(text, limit):
    short = cut(text, limit)
    assert cost_of(short, utf16) <= limit
    assert short == text or short.endswith("…")


@given(st.text(alphabet=st.characters(), max_size=100))
def test_clean_text_is_unicode_that_every_service_takes(text):
    cleaned = clean(text)
    cleaned.encode("utf-8")
    assert not any(ord(char) < 32 and char not in "\n\t" for char in cleaned)


def test_clean_keeps_what_matters():
    assert clean("a\r\nb\rc\td\x00\x1b[31m\ud83d\ude00\ud800") == "a\nb\nc\td\\x00😀�"
    assert clean("\x1b[1;32mPASS\x1b[0m \x1b(B\x1b[m\x1b]8;;http://a\x1b\\link\x1b]8;;\x07") == "PASS link"
    assert one_line(" a\n b\t c ") == "a b c"
