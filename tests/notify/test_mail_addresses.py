"""Who gets a mail: every address that the owner wrote, or a sentence at the start."""

from __future__ import annotations

import pytest

from understudy.errors import ConfigError
from understudy.notify import email
from understudy.notify.base import ChannelSettings, Message
from understudy.notify.channels import check


def settings(chat: str = "a@x.org", sender: str = "hub@x.org") -> ChannelSettings:
    return ChannelSettings("mail", "email", "smtps://host", chat, "p w€", sender)


def recipients(chat: str) -> tuple[str, ...]:
    (mail,) = email.requests_for(settings(chat), Message("k", "notice", text="x", at=1))
    return mail.recipients


@pytest.mark.parametrize(
    ("chat", "expected"),
    [
        ("a@x; b@y", ("a@x", "b@y")),
        ("a@x.org,b@y.org;c@z.org", ("a@x.org", "b@y.org", "c@z.org")),
        ("a@x\nb@y\r\n", ("a@x", "b@y")),
        ('"Doe, Jane" <j@x>', ("j@x",)),
        ('"Doe; \\"J, J\\"" <j@x>; k@y', ("j@x", "k@y")),
        ("Jane Doe <j@x.org>, John (at home, late) <k@x.org>", ("j@x.org", "k@x.org")),
        ("<a@x>", ("a@x",)),
        ("山田 <a@x>, a@x, ;", ("a@x",)),
        ("o'neil+alarm@x.org", ("o'neil+alarm@x.org",)),
        ("a@bücher.example", ("a@xn--bcher-kva.example",)),
    ],
)
def test_every_address_is_read(chat, expected):
    assert recipients(chat) == expected
    check(settings(chat))


@pytest.mark.parametrize(
    "chat",
    ["a@x b@y", "Doe, Jane <j@x>", '"Doe, Jane <j@x>', "nobody", "a@", "@x", "a@x, nobody", "a@@x", "a@x..y\0", "jü@x"],
)
def test_what_is_no_address_is_refused_with_what_was_written(chat):
    with pytest.raises(ConfigError, match="mail address"):
        check(settings(chat))


@pytest.mark.parametrize("sender", ["a@x, b@y", "nobody", "a@x b@y"])
def test_a_sender_is_one_address(sender):
    with pytest.raises(ConfigError):
        check(settings(sender=sender))


@pytest.mark.parametrize("chat", ["", " ; ,", ",".join(f"a{n}@x" for n in range(101))])
def test_nobody_and_everybody_are_refused(chat):
    with pytest.raises(ConfigError):
        check(settings(chat))


@pytest.mark.parametrize(
    ("kind", "given"),
    [
        ("slack", {"chat": "C1", "secret": "xoxb-€"}),
        ("ntfy", {"chat": "top", "secret": "tk\n2"}),
        ("webhook", {"address": "https://am", "secret": "a\r\nb", "format": "alertmanager"}),
        ("telegram", {"chat": "1", "secret": "t", "address": "https://"}),
    ],
)
def test_a_token_that_no_header_can_hold_is_refused_at_the_start(kind, given):
    with pytest.raises(ConfigError, match="HTTP"):
        check(ChannelSettings("it", kind, **given))


@pytest.mark.parametrize("secret", [" ä€ \t", "user:p w €"])
def test_secrets_that_are_no_header_may_hold_anything(secret):
    check(ChannelSettings("hook", "webhook", "https://h", secret=secret))
    check(ChannelSettings("mail", "email", "smtps://me@h", "a@x", secret, "me@h"))
    if ":" in secret:
        check(ChannelSettings("ntfy", "ntfy", chat="top", secret=secret))
