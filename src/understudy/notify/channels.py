"""Every kind of channel by name, and what each can do: the outbox asks here and nowhere else.

A channel is a module with the pair of `base.Channel`. What a `Target` of each kind holds:

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

from understudy.addresses import is_web_address
from understudy.errors import ConfigError
from understudy.notify import apprise, discord, email, ntfy, slack, telegram, webhook
from understudy.notify.base import Channel, Message, Target
from understudy.texts import t
from understudy.wire.outbound import HttpRequest

CHANNELS: dict[str, Channel] = {
    "slack_webhook": slack,
    "slack": slack,
    "discord": discord,
    "telegram": telegram,
    "ntfy": ntfy,
    "email": email,
    "webhook": webhook,
    "apprise": apprise,
}

_HEADER = re.compile(r"[\x20-\x7e\xa0-\xff]{0,4096}")
# A message sent can be changed: progress is one message. Elsewhere only its first and last word are worth sending.
EDITABLE = frozenset({"slack", "discord", "telegram"})
# `thread` may be the ref of any message sent before: what follows can stand under it.
ANSWERABLE = frozenset({"slack", "telegram"})


def check(target: Target) -> None:
    """ConfigError if the target cannot work: an unknown kind, or without the address, chat or secret it needs."""
    needs = {
        "slack_webhook": (target.address,),
        "slack": (target.chat, target.secret),
        "discord": (target.address,),
        "telegram": (target.chat, target.secret),
        "ntfy": (target.chat,),
        "email": (target.address, target.chat),
        "webhook": (target.address or target.format == "pagerduty", target.secret or target.format != "pagerduty"),
        "apprise": (target.address,),
    }.get(target.kind, ("",))
    is_web = target.kind not in {"email", "apprise"}
    has_bad_address = is_web and target.address and not target.address.startswith(("https://", "http://"))
    if not all(needs) or has_bad_address or target.format not in webhook.FORMATS:
        raise ConfigError(t("channel.bad_target", target.language, name=target.name))
    try:
        requests = CHANNELS[target.kind].requests_for(target, Message(key="check", kind="notice"))
        if not all(_can_be_sent(request) for request in requests if isinstance(request, HttpRequest)):
            raise ConfigError(t("channel.bad_header", target.language, name=target.name))
    except ValueError:  # an address that is no URL
        raise ConfigError(t("channel.bad_target", target.language, name=target.name)) from None


def _can_be_sent(request: HttpRequest) -> bool:
    """True if each header can hold its value, such as a token, and the address has a host."""
    values = (value for _, value in request.headers)
    return is_web_address(request.url) and all(_HEADER.fullmatch(value) for value in values)
