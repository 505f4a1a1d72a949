"""What is cut before it is cleaned is cut between words."""

from __future__ import annotations

import pytest

from understudy.redact.cutting import beginning


@pytest.mark.parametrize(
    ("text", "chars_max", "expected"),
    [
        ("one two", 7, "one two"),
        ("one two", 6, "one "),
        ("one two", 4, "one "),
        ("one two", 3, "one"),
        ("onetwo", 3, ""),
        ("日本語の文", 3, "日本語"),
        ("日本語sk-1", 5, "日本語"),
        ('{"a":"bc"}', 7, '{"a":"'),
    ],
)
def test_a_word_at_the_border_is_left_out(text: str, chars_max: int, expected: str) -> None:
    assert beginning(text, chars_max) == expected
