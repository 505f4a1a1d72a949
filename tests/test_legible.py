"""What is shown steers nothing: in logs, on terminals and in notices alike."""

from __future__ import annotations

import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy import legible
from understudy.log import json_line, pretty_line

EVIL = "mini\n[2026-02-04T14:13:28.213Z] [CRITICAL] [Alarm] forged\x1b[31m\x9b2J\x85\u202e\u2066\u2028\ud83d"


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("\x1b[1;32mPASS\x1b[0m", "PASS"),
        ("\x1b]0;title\x07x", "x"),
        ("\x1b]8;;http://a\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("a\x1bPq#0\n~\x1b\\b", "ab"),
        ("\x9b31mred\x9b0m", "red"),
        ("\x1b(B\x1b[m\x1b=\x1b7x\x1bc", "x"),
        ("cut off \x1b[1;3", "cut off "),
        ("no end \x1b]0;t", "no end \\x1b]0;t"),
        ("bell\x07 del\x7f c1\x85 rlo\u202e", "bell\\x07 del\\x7f c1\\x85 rlo\\u202e"),
        ("progress 1\rprogress 2\r\nend", "progress 1\nprogress 2\nend"),
        ("half \ud83d whole \U0001f600", "half \ufffd whole \U0001f600"),
        ("日本語 👨\u200d👩 \u200f", "日本語 👨\u200d👩 \u200f"),
    ],
)
def test_sequences_go_whole_and_the_rest_is_escaped(raw, shown):
    assert legible.text(raw) == shown


texts = st.lists(
    st.sampled_from(
        ["\x1b", "[", "]", "0", "m", "\x07", "\x9b", "\x9c", "\\", "P", "\n", "\r", "\u202e", "\ud800", "あ"]
    )
).map("".join)


@given(texts)
def test_nothing_that_is_left_steers(raw):
    for shown in (legible.text(raw), legible.line(raw), legible.json(json.dumps(raw, ensure_ascii=False))):
        assert not any(unicodedata.category(char) in ("Cc", "Cs", "Zl") for char in shown.replace("\n", "x"))
        assert "\u202e" not in shown
        shown.encode()
    assert legible.line(raw).isprintable()


@given(texts)
def test_json_means_the_same(raw):
    whole = legible.whole_characters(raw)
    assert json.loads(legible.json(json.dumps(whole, ensure_ascii=False))) == whole


@pytest.mark.parametrize("form", [pretty_line, json_line])
@pytest.mark.parametrize("place", ["component", "message", "value", "name", "deep"])
def test_a_name_from_outside_forges_no_line_of_a_log(form, place):
    fields = {"value": {"daemonId": EVIL}, "name": {EVIL: 1}, "deep": {"a": {"b": [EVIL]}}}.get(place, {})
    component, message = (EVIL if place == name else "x" for name in ("component", "message"))
    line = form(0, "info", component, message, fields)
    assert line.isprintable()
    assert "forged" in line


@pytest.mark.parametrize("piece", ["\x1b", "\x1b[", "\x1b]", "\x90", "\x9d", "\x1b ", "\ud800", "\x1b]a\t", "\u202e"])
def test_a_megabyte_of_the_worst_is_read_in_one_go(piece):
    for make in (legible.text, legible.line, legible.json):
        make(piece * ((1 << 20) // len(piece)))
