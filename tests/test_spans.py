"""A duration for people: the two largest units, in the reader's language."""

from __future__ import annotations

import pytest

from understudy.spans import span


@pytest.mark.parametrize(
    ("ms", "text"),
    [
        (-5, "0 ms"),
        (99, "99 ms"),
        (300, "0.3 s"),
        (9_999, "10.0 s"),
        (10_000, "10 s"),
        (59_600, "1 min"),
        (185_000, "3 min 5 s"),
        (7_800_000, "2 h 10 min"),
        (273_600_000, "3 d 4 h"),
        (86_400_000, "1 d"),
    ],
)
def test_a_duration_is_read_by_people(ms, text):
    assert span(ms, "en") == text


def test_a_duration_is_in_the_language_of_its_reader():
    assert (span(185_000, "ja"), span(300, "ja")) == ("3 分 5 秒", "0.3 秒")
