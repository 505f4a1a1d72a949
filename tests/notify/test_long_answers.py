"""What services answer is looked at in a moment, however long it is, and shown short."""

from __future__ import annotations

import pytest

from understudy.notify.base import ChannelSettings
from understudy.notify.outcomes import by_status, shown
from understudy.wire.outbound import HttpAnswer
from understudy.wire.retry_after import retry_after_ms
from understudy.worker.executors.failures import api_failure

TARGET = ChannelSettings("ops", "slack", address="https://hooks.example/T1", secret="s3cr3t-of-ours")


@pytest.mark.parametrize("piece", ["a", "bot1", "bot1:", "http://x ", "://", "\x1b", "1"])
def test_megabytes_of_an_answer_are_read_in_one_go(piece):
    """One word of 100 kB stopped the whole hub, and again after each restart."""
    said = piece * (8_000_000 // len(piece))
    outcome = by_status(TARGET, HttpAnswer(400, {}, b""), said)
    assert len(outcome.reason) < 400


def test_no_address_and_no_secret_is_shown_even_at_the_cut():
    said = "no " + "http://a " * 300 + "y" * 1_000 + "s3cr3t-of-ours https://hooks.example/T1/x bot12:abc"
    for start in range(0, 60, 7):
        text = shown(TARGET, "z" * start + " " + said)
        assert "s3cr3t" not in text
        assert "://" not in text
        assert len(text) <= 160
    assert shown(TARGET, "bad bot12:abc https://q \x1b[31mred\x1b[0m\nend") == "bad … … red end"


def test_a_retry_after_of_a_megabyte_is_none():
    assert retry_after_ms(HttpAnswer(429, {"retry-after": "(" * 10**6, "date": "," * 10**6}, b"")) == 0


@pytest.mark.parametrize(
    "value", ["Mon, 01 Jan 99999999999 00:00:00 GMT", "Mon, 01 Jan 2026 00:00:00 +99999999999999", "nan"]
)
def test_a_retry_after_beyond_all_calendars_is_none(value):
    headers = {"retry-after": value, "date": "Mon, 01 Jan 2026 00:00:00 GMT"}
    assert by_status(TARGET, HttpAnswer(429, headers)).after_ms == 0


@pytest.mark.parametrize("piece", ["keychain ", "invalid ", "expired ", "token ", "lock", "a"])
def test_megabytes_of_an_assistant_are_classified_in_one_go(piece):
    words = piece * (8_000_000 // len(piece))
    assert api_failure(0, words).name == "api_error"
    assert api_failure(0, words + " 429 rate limit").name == "rate_limited"
