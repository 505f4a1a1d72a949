"""Every kind of channel by name, and what each can do: the outbox asks here and nowhere else.

A channel is a module with the pair of `base.Channel`. What a `ChannelSettings` of each kind holds:

| kind          | address                                | chat          | secret                              |
|---------------|----------------------------------------|---------------|-------------------------------------|
| slack_webhook | the webhook's URL (is a secret)        |               |                                     |
| slack         | API, default https://slack.com/api     | channel id    | bot token                           |
| discord       | the webhook's URL (is a secret)        |               |                                     |
| telegram      | API, default https://api.telegram.org  | chat id       | bot token                           |
| ntfy          | server, default https://ntfy.sh        | topic         | token, or user:password             |
| email         | smtps://user@host, smtp://user@host    | recipients, … | password                            |
| webhook       | URL                                    |               | signing secret; PagerDuty: its key  |
| apprise       | an Apprise URL (is a secret)           |               |                                     |
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import cast

from understudy.addresses import is_web_address
from understudy.errors import ConfigError
from understudy.notify.base import FORMATS, Channel, ChannelSettings, Message
from understudy.texts import t
from understudy.wire.outbound import HttpRequest

_MODULES = {
    "slack_webhook": "slack",
    "slack": "slack",
    "discord": "discord",
    "telegram": "telegram",
    "ntfy": "ntfy",
    "email": "email",
    "webhook": "webhook",
    "apprise": "apprise",
}


class _Channels(Mapping[str, Channel]):
    """By kind; each is imported when somebody first asks for it, because most hubs have one or two."""

    def __getitem__(self, kind: str) -> Channel:
        return cast("Channel", import_module(f"understudy.notify.{_MODULES[kind]}"))

    def __iter__(self) -> Iterator[str]:
        return iter(_MODULES)

    def __len__(self) -> int:
        return len(_MODULES)


CHANNELS = _Channels()
_HEADER = re.compile(r"[\x20-\x7e\xa0-\xff]{0,4096}")
# A message sent can be changed: progress is one message. Elsewhere only its first and last word are worth sending.
EDITABLE = frozenset({"slack", "discord", "telegram"})
# `thread` may be the ref of any message sent before: what follows can stand under it.
ANSWERABLE = frozenset({"slack", "telegram"})

# Formats of webhooks whose receiver keeps an alarm open until its recovery comes under the same key, and groups by
# itself.
JOINING = frozenset({"pagerduty", "alertmanager"})


def is_joining(settings: ChannelSettings) -> bool:
    """True if each alarm and its recovery must reach this channel by themselves."""
    return settings.kind == "webhook" and settings.format in JOINING


def check(settings: ChannelSettings) -> None:
    """ConfigError if the settings cannot work: an unknown kind, or without the address, chat or secret it needs."""
    needs = {
        "slack_webhook": (settings.address,),
        "slack": (settings.chat, settings.secret),
        "discord": (settings.address,),
        "telegram": (settings.chat, settings.secret),
        "ntfy": (settings.chat,),
        "email": (settings.address, settings.chat),
        "webhook": (
            settings.address or settings.format == "pagerduty",
            settings.secret or settings.format != "pagerduty",
        ),
        "apprise": (settings.address,),
    }.get(settings.kind, ("",))
    is_web = settings.kind not in {"email", "apprise"}
    has_bad_address = is_web and settings.address and not settings.address.startswith(("https://", "http://"))
    if not all(needs) or has_bad_address or settings.format not in FORMATS:
        raise ConfigError(t("channel.bad_target", settings.language, name=settings.name))
    try:
        requests = CHANNELS[settings.kind].requests_for(settings, Message(key="check", kind="notice"))
        if not all(_can_be_sent(request) for request in requests if isinstance(request, HttpRequest)):
            raise ConfigError(t("channel.bad_header", settings.language, name=settings.name))
    except ValueError:  # an address that is no URL
        raise ConfigError(t("channel.bad_target", settings.language, name=settings.name)) from None


def _can_be_sent(request: HttpRequest) -> bool:
    """True if each header can hold its value, such as a token, and the address has a host."""
    values = (value for _, value in request.headers)
    return is_web_address(request.url) and all(_HEADER.fullmatch(value) for value in values)
