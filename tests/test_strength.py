"""Keys that people choose: which of them a guesser would find."""

from __future__ import annotations

import secrets

import pytest

from understudy.config.strength import is_easy_to_guess


@pytest.mark.parametrize(
    "secret",
    [
        "",
        "hub",
        "x",
        "Tr0ub4dor&3",
        "hubhubhubhubhubhubhubhub",
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        "changeme-changeme-changeme",
        "my-secret-hub-key",
        "UNDERSTUDY_API_KEY",
        "abcdefghijklmnopqrstuvwxyz",
        "0123456789012345678901234567890123456789",
        "passwordpasswordpassword1234",
        "qwertyuiopasdfghjklzxcvbnm",
        "correct horse battery staple",
        "your-api-key-goes-here-please",
        "ab" * 200,
    ],
)
def test_what_a_guesser_finds_is_weak(secret: str) -> None:
    assert is_easy_to_guess(secret)


def test_random_keys_are_strong() -> None:
    for make in (
        lambda: secrets.token_hex(16),
        lambda: secrets.token_urlsafe(16),
        lambda: f"usk_{secrets.token_hex(20)}",
    ):
        assert not any(is_easy_to_guess(make()) for _ in range(500))


def test_a_very_long_one_is_judged_by_its_beginning() -> None:
    assert not is_easy_to_guess(secrets.token_hex(5_000_000))
