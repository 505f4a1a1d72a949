"""Events out of a stream that is cut anywhere: whole lines only, bounded, and nothing of it is trusted."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.worker.executors import events
from understudy.worker.executors.events import JsonLines, list_in, number_in, text_in, value_in

OBJECTS = st.lists(st.dictionaries(st.text(max_size=5), st.text(max_size=20) | st.integers(), max_size=3), max_size=6)


@given(objects=OBJECTS, cuts=st.lists(st.integers(1, 40), min_size=1, max_size=50))
def test_it_does_not_matter_where_the_stream_is_cut(objects, cuts):
    raw = b"".join(json.dumps(item, ensure_ascii=False).encode() + b"\n" for item in objects)
    reader, seen, at = JsonLines(), [], 0
    while at < len(raw):
        step = cuts[at % len(cuts)]
        seen += reader.feed(raw[at : at + step])
        at += step
    assert seen == objects
    assert list(reader.end()) == []
    assert reader.skipped == 0


@given(noise=st.binary(max_size=300))
def test_no_bytes_break_it_and_the_next_line_is_read(noise):
    reader = JsonLines()
    seen = [*reader.feed(noise), *reader.feed(b'\n{"type":"next"}\n')]
    assert {"type": "next"} in seen


def test_a_line_that_is_too_long_is_skipped_without_being_kept(monkeypatch):
    monkeypatch.setattr(events, "LINE_BYTES_MAX", 100)
    reader = JsonLines()
    for _ in range(50):
        assert list(reader.feed(b"x" * 90)) == []
        assert len(reader._rest) <= 100
    assert list(reader.feed(b'x\n{"type":"next"}\n')) == [{"type": "next"}]
    assert reader.skipped == 1
    assert list(reader.feed(b'{"a":"' + b"y" * 200 + b'"}\n{"b":1}\n')) == [{"b": 1}]


@pytest.mark.parametrize("line", [b"[1,2]", b"7", b'"x"', b"null", b"[" * 100_000, b'{"a":' * 50_000, b"{", b"\xff"])
def test_what_is_no_object_is_counted_and_passed_over(line):
    reader = JsonLines()
    assert list(reader.feed(line + b"\n")) == []
    assert reader.skipped == 1


def test_the_last_line_needs_no_end():
    reader = JsonLines()
    assert list(reader.feed(b'{"a":1}')) == []
    assert list(reader.end()) == [{"a": 1}]
    assert list(reader.end()) == []


@pytest.mark.parametrize("event", [None, 7, "x", [], {}, {"a": None}, {"a": {"b": []}}, {"a": {"b": {"c": True}}}])
def test_what_is_not_there_or_of_another_kind_is_nothing(event):
    assert text_in(event, "a", "b", "c") == ""
    assert number_in(event, "a", "b", "c") == 0
    assert list_in(event, "a", "b", "c") == []
    assert value_in(event, "z") is None
