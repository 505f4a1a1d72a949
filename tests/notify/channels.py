"""A target of every kind, its fake, and a judge of requests that needs no socket."""

from __future__ import annotations

from urllib.parse import urlsplit

from tests.fakes.discord import FakeDiscord
from tests.fakes.ntfy import FakeNtfy
from tests.fakes.server import FakeServer
from tests.fakes.slack import FakeSlack
from tests.fakes.smtp import FakeSmtp
from tests.fakes.telegram import FakeTelegram
from tests.fakes.webhook import FakeWebhook
from understudy.notify.base import ChannelSettings
from understudy.wire.outbound import AppriseRequest, HttpRequest, MailRequest, OutboundRequest

AT = 1_795_363_200_000
FORMATS = ("plain", "pagerduty", "teams", "alertmanager")
NAMES = (
    "slack",
    "slack_webhook",
    "discord",
    "telegram",
    "ntfy",
    "email",
    "apprise",
    *(f"webhook-{f}" for f in FORMATS),
)
# a message sent before, as each channel's `ref`
REFS = {"slack": "C1/1795363200.000001", "discord": "1001", "telegram": "-100/1"}


def fake_for(name: str) -> FakeServer:
    """A fake of the service, not yet started, that knows the message of `REFS`."""
    if name.startswith("webhook-"):
        return FakeWebhook(format=name.removeprefix("webhook-"), is_fresh=False)
    fake = {"discord": FakeDiscord, "telegram": FakeTelegram, "ntfy": FakeNtfy, "email": FakeSmtp}.get(
        name, FakeSlack
    )()
    if isinstance(fake, FakeSlack):
        fake.messages["C1"]["1795363200.000001"] = {"text": "earlier"}
    if isinstance(fake, FakeDiscord):
        fake.messages["1001"] = {"content": "earlier", "thread": ""}
    if isinstance(fake, FakeTelegram):
        fake.messages["-100"][1] = {"text": "earlier"}
    return fake


def settings_of(name: str, fake: FakeServer, language: str = "en") -> ChannelSettings:
    """The target that reaches `fake`."""
    if isinstance(fake, FakeWebhook):
        return ChannelSettings(name, "webhook", fake.address, secret=fake.secret, format=fake.format, language=language)
    if isinstance(fake, FakeSlack):
        address = fake.api if name == "slack" else fake.webhook
        return ChannelSettings(name, name, address, "C1" if name == "slack" else "", fake.token, language=language)
    if isinstance(fake, FakeDiscord):
        return ChannelSettings(name, name, fake.webhook, language=language)
    if isinstance(fake, FakeTelegram):
        return ChannelSettings(name, name, fake.url, "-100", fake.token, language=language)
    if isinstance(fake, FakeNtfy):
        return ChannelSettings(name, name, fake.url, "alerts", fake.token, language=language)
    assert isinstance(fake, FakeSmtp)
    return ChannelSettings(
        name, name, fake.address, "owner@example.org", sender="Hub <hub@example.org>", language=language
    )


def offline(name: str, language: str = "en") -> tuple[FakeServer, ChannelSettings]:
    """A fake that only judges, and its target."""
    fake = fake_for("slack" if name == "apprise" else name)
    if name == "apprise":
        return fake, ChannelSettings(name, name, "json://receiver.example", language=language)
    return fake, settings_of(name, fake, language)


def judge(fake: FakeServer, requests: tuple[OutboundRequest, ...]) -> list[str]:
    """What the service would refuse in these requests."""
    for request in requests:
        match request:
            case HttpRequest():
                parts = urlsplit(request.url)
                headers = dict(request.headers)
                assert all(name.isascii() and value.isascii() for name, value in headers.items()), headers
                settings = f"{parts.path or '/'}?{parts.query}"
                fake.take(request.method, settings, headers, request.body)
            case MailRequest():
                assert isinstance(fake, FakeSmtp)
                fake.take_mail(request.sender, list(request.recipients), request.content, fake.next_step())
            case AppriseRequest():
                assert 0 < len(request.body.strip().encode()) <= 20_000
    return fake.problems
