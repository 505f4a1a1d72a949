"""Any other receiver: a JSON POST, signed, in our own shape or in that of PagerDuty, Teams or Alertmanager.

`X-Understudy-Signature: v0=<hex>` is HMAC-SHA256 under the channel's secret of `v0:<timestamp>:<body>`, with the
timestamp (s) in `X-Understudy-Timestamp`; `X-Understudy-Delivery` is the key to drop repetitions by.
"""

from __future__ import annotations

import hmac
from typing import Any

import msgspec

from understudy.clock import iso
from understudy.notify.base import ChannelSettings, Message, Outcome, Sent
from understudy.notify.fitting import cut, utf8
from understudy.notify.outcomes import begun, by_status, is_ok, is_page, no_answer, text_in, unexpected
from understudy.notify.plain import headline, level_of, lines, paragraphs, parts_of, ready, whole
from understudy.wire.foreign_json import object_of
from understudy.wire.outbound import HttpAnswer, HttpRequest, OutboundAnswer

PAGERDUTY = "https://events.pagerduty.com/v2/enqueue"
SUMMARY_MAX = 1024  # PagerDuty's, and enough of a summary for the others
DETAILS_MAX = 100_000  # bytes; PagerDuty takes an event of 512 KB
CARD_TEXT_MAX = 16_000  # bytes; Teams takes a card of 28 KB: title and links have their share
LINE_COST = 80
ALERT_LASTS_MS = 7 * 86_400_000  # until then Alertmanager does not call it resolved by itself
ENDED_MS = 3_600_000  # before the recovery: an end that is still to come by Alertmanager's clock would end nothing

Body = Any  # what becomes JSON


def requests_for(settings: ChannelSettings, message: Message, *, is_plain: bool = False) -> tuple[HttpRequest, ...]:
    """One request."""
    message = ready(message, settings)
    url, body = BODIES[settings.format](settings, message)
    raw = msgspec.json.encode(body)
    headers = [("content-type", "application/json"), ("x-understudy-delivery", message.key)]
    if settings.format == "alertmanager" and settings.secret:
        headers.append(("authorization", f"Bearer {settings.secret}"))
    elif settings.format != "pagerduty" and settings.secret:
        timestamp = str(message.at // 1000)
        headers.append(("x-understudy-timestamp", timestamp))
        headers.append(("x-understudy-signature", signature(settings.secret, timestamp, raw)))
    return (HttpRequest("POST", url, tuple(headers), raw),)


def outcome_of(settings: ChannelSettings, answer: OutboundAnswer) -> Outcome:
    """Any success, whatever its body; but PagerDuty never sends a page, and Teams tells of failures in a 200."""
    answer = answer if settings.format == "teams" else begun(answer)
    if not isinstance(answer, HttpAnswer):
        return no_answer(settings, answer)
    if is_ok(answer):
        is_lie = (settings.format == "pagerduty" and is_page(answer)) or (
            settings.format == "teams" and "error" in text_in(answer).lower()
        )
        return unexpected(settings, answer) if is_lie else Sent()
    body = object_of(answer.body) or {}
    return by_status(settings, answer, str(body.get("message") or body.get("error") or text_in(answer)))


def signature(secret: str, timestamp: str, body: bytes) -> str:
    """`v0=` and the HMAC-SHA256 of `v0:timestamp:body`, as Slack signs what it sends."""
    return "v0=" + hmac.new(secret.encode(), f"v0:{timestamp}:".encode() + body, "sha256").hexdigest()


def _plain(settings: ChannelSettings, message: Message) -> tuple[str, Body]:
    return settings.address, {
        "key": message.key,
        "kind": message.kind,
        "level": message.level,
        "about": message.about,
        "title": message.title,
        "text": message.text,
        "facts": [{"label": label, "value": value} for label, value in message.facts],
        "links": [{"label": label, "url": url} for label, url in message.links],
        "linkFull": message.link_full,
        "chat": message.chat or settings.chat,
        "thread": message.thread,
    }


def _pagerduty(settings: ChannelSettings, message: Message) -> tuple[str, Body]:
    details = parts_of(message.text, message, settings, DETAILS_MAX, utf8, parts_max=1, is_fenced=False)[0]
    return settings.address or PAGERDUTY, {
        "routing_key": settings.secret,
        "event_action": "resolve" if message.level == "recovered" else "trigger",
        "dedup_key": (message.about or message.key)[:255],
        "client": "understudy",
        "payload": {
            "summary": _summary(settings, message),
            "source": message.about or "understudy",
            "severity": level_of(message).severity,
            "custom_details": dict(message.facts) | ({"text": details} if message.text.strip() else {}),
        },
        "links": [{"href": url, "text": label} for label, url in message.links],
    }


def _teams(settings: ChannelSettings, message: Message) -> tuple[str, Body]:
    """Text runs, not text blocks: these would read Markdown, and links with it, in what a task wrote."""
    text = paragraphs(message.text, lines(message.facts))
    said = parts_of(text, message, settings, CARD_TEXT_MAX, _card_cost, parts_max=1, is_fenced=False)[0]
    card = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "body": [
            _run(_summary(settings, message), weight="Bolder"),
            *(_run(line) for line in said.split("\n") if line.strip()),
        ],
        "actions": [{"type": "Action.OpenUrl", "title": label, "url": url} for label, url in message.links],
    }
    attachment = {"contentType": "application/vnd.microsoft.card.adaptive", "contentUrl": None, "content": card}
    return settings.address, {"type": "message", "attachments": [attachment]}


def _alertmanager(settings: ChannelSettings, message: Message) -> tuple[str, Body]:
    """One alert for each severity; a recovery ends all, since labels are what makes an alert the same."""
    is_over = message.level == "recovered"
    begun = {} if is_over else {"startsAt": iso(message.at)}  # without it, an alert begins when it ends
    alert = begun | {
        "annotations": {
            "summary": _summary(settings, message),
            "description": paragraphs(message.text, lines(message.facts)) or "-",
        },
        "endsAt": iso(message.at - ENDED_MS if is_over else message.at + ALERT_LASTS_MS),
        "generatorURL": message.links[0][1] if message.links else "",
    }
    labels = {"alertname": "understudy", "about": message.about or message.key}
    severities = ("info", "warning", "critical") if is_over else (level_of(message).severity,)
    url = settings.address.rstrip("/")
    alerts = [alert | {"labels": labels | {"severity": severity}} for severity in severities]
    return url if url.endswith("/alerts") else f"{url}/api/v2/alerts", alerts


def _summary(settings: ChannelSettings, message: Message) -> str:
    return cut(headline(message) or " ".join(whole(message, settings).split()), SUMMARY_MAX)


def _run(text: str, **style: str) -> dict[str, Any]:
    return {"type": "RichTextBlock", "inlines": [{"type": "TextRun", "text": text} | style]}


def _card_cost(char: str) -> int:
    """Bytes in a card, in which each line is a block."""
    return LINE_COST if char == "\n" else utf8(char) + (char in '"\\\t')


BODIES = {"plain": _plain, "pagerduty": _pagerduty, "teams": _teams, "alertmanager": _alertmanager}
