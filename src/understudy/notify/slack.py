"""Slack: an incoming webhook, or a bot that posts, answers in threads and changes what it said.

Text is mrkdwn with `& < >` escaped, so nothing from a task can mention, ping or hide a link. A bot's ref is
`channel/ts`; `thread` may be a bare `ts`. Limits: 3000 characters a text, 10 fields a section, 50 blocks.
"""

from __future__ import annotations

from typing import Any

import msgspec

from understudy.notify.base import ChannelSettings, Message, Outcome, Sent
from understudy.notify.fitting import utf16
from understudy.notify.outcomes import (
    begun,
    by_status,
    is_ok,
    is_page,
    later,
    no_answer,
    refused,
    sent,
    text_in,
    unexpected,
)
from understudy.notify.plain import Pairs, fitting, headline, lines, paragraphs, parts_of, ready, whole
from understudy.wire.foreign_json import object_of
from understudy.wire.outbound import HttpAnswer, HttpRequest, OutboundAnswer
from understudy.wire.retry_after import retry_after_ms

API = "https://slack.com/api"
TEXT_MAX = 3000
PARTS_MAX = 8
_ESCAPES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}

_GONE = frozenset(
    {"message_not_found", "cant_update_message", "edit_window_closed", "thread_not_found", "invalid_thread_ts"}
)
_FORMAT = frozenset(
    {"invalid_blocks", "invalid_blocks_format", "invalid_attachments", "msg_blocks_too_long", "invalid_payload"}
)
_LATER = {
    "ratelimited": "channel.busy",
    "rate_limited": "channel.busy",
    "internal_error": "channel.broken",
    "fatal_error": "channel.broken",
    "service_unavailable": "channel.broken",
    "request_timeout": "channel.broken",
    "rollup_error": "channel.broken",
}
_REFUSED = {
    "invalid_auth": "channel.unauthorized",
    "not_authed": "channel.unauthorized",
    "account_inactive": "channel.unauthorized",
    "token_revoked": "channel.unauthorized",
    "token_expired": "channel.unauthorized",
    "invalid_token": "channel.unauthorized",
    "missing_scope": "channel.forbidden",
    "not_in_channel": "channel.forbidden",
    "restricted_action": "channel.forbidden",
    "is_archived": "channel.forbidden",
    "channel_is_archived": "channel.forbidden",
    "channel_not_found": "channel.not_found",
    "no_service": "channel.not_found",
    "no_active_hooks": "channel.not_found",
    "msg_too_long": "channel.too_large",
}


def requests_for(settings: ChannelSettings, message: Message, *, is_plain: bool = False) -> tuple[HttpRequest, ...]:
    """A notice begins with blocks; what follows it, and answers, are text."""
    message = ready(message, settings)
    if is_plain or message.kind != "notice":
        parts = parts_of(whole(message, settings), message, settings, TEXT_MAX, cost, parts_max=PARTS_MAX)
        bodies = [_text(part, is_plain=is_plain) for part in parts]
    else:
        bodies = _notice(settings, message)
    return tuple(_request(settings, message, body, is_first=at == 0) for at, body in enumerate(bodies))


def outcome_of(settings: ChannelSettings, answer: OutboundAnswer) -> Outcome:
    """A bot's answer says `ok` in its body, whatever the status; a webhook says it in text."""
    answer = answer if settings.kind == "slack" else begun(answer)
    if not isinstance(answer, HttpAnswer):
        return no_answer(settings, answer)
    body = object_of(answer.body) or {}
    if is_ok(answer) and settings.kind == "slack" and body.get("ok") is True:
        return sent(f"{body.get('channel', '')}/{body.get('ts', '')}")
    if is_ok(answer) and settings.kind != "slack" and not is_page(answer) and body.get("ok", True):
        return Sent()
    error = str(body.get("error") or text_in(answer))
    return _meaning(settings, answer, error, f"{answer.status} {error} {body.get('needed', '')}")


def escaped(text: str) -> str:
    """Text in which `<!channel>`, `<@U1>` and `<url|label>` are nothing but characters."""
    return "".join(_ESCAPES.get(char, char) for char in text)


def cost(char: str) -> int:
    """The cost of a character once it is escaped."""
    return len(_ESCAPES.get(char, "")) or utf16(char)


def _meaning(settings: ChannelSettings, answer: HttpAnswer, error: str, said: str) -> Outcome:
    if error in _LATER:
        return later(_LATER[error], settings, said, retry_after_ms(answer))
    if error in _REFUSED:
        return refused(_REFUSED[error], settings, said)
    if error in _GONE | _FORMAT:
        return refused("channel.refused", settings, said, as_plain=error in _FORMAT, without_edit=error in _GONE)
    if not is_ok(answer):
        return by_status(settings, answer, error)
    return refused("channel.refused", settings, said) if error else unexpected(settings, answer)


def _text(part: str, *, is_plain: bool) -> dict[str, Any]:
    return {"text": escaped(part), "mrkdwn": not is_plain}


def _notice(settings: ChannelSettings, message: Message) -> list[dict[str, Any]]:
    facts, more_facts = fitting(message.facts, count=10, value_max=1800, total_max=9000, cost=cost)
    links, more_links = fitting(message.links, count=5, value_max=1500, total_max=2500, cost=cost)
    text = paragraphs(message.text, lines(more_facts), lines(more_links))
    parts = parts_of(text, message, settings, TEXT_MAX, cost, parts_max=PARTS_MAX) if text else [""]
    short = parts_of(
        paragraphs(headline(message), text), message, settings, TEXT_MAX, cost, parts_max=1
    )  # what a phone's lock screen shows
    first = {"text": escaped(short[0]), "blocks": _blocks(message, parts[0], facts, links)}
    return [first, *(_text(part, is_plain=False) for part in parts[1:])]


def _blocks(message: Message, text: str, facts: Pairs, links: Pairs) -> list[dict[str, Any]]:
    blocks: list[dict[str, Any]] = []
    if message.title:
        blocks.append({"type": "header", "text": {"type": "plain_text", "text": headline(message)}})
    if text:
        blocks.append({"type": "section", "text": _mrkdwn(escaped(text))})
    if facts:
        fields = [_mrkdwn(f"*{escaped(label)}*\n{escaped(value)}") for label, value in facts]
        blocks.append({"type": "section", "fields": fields})
    if links:
        said = " · ".join(f"<{escaped(url)}|{escaped(label)}>" for label, url in links)
        blocks.append({"type": "section", "text": {"type": "mrkdwn", "text": said}})
    return blocks


def _mrkdwn(text: str) -> dict[str, Any]:
    return {"type": "mrkdwn", "text": text, "verbatim": True}  # verbatim: Slack makes no links or mentions of its own


def _request(settings: ChannelSettings, message: Message, body: dict[str, Any], *, is_first: bool) -> HttpRequest:
    json = ("content-type", "application/json; charset=utf-8")
    thread_chat, _, thread = message.thread.rpartition("/")
    if thread:
        body["thread_ts"] = thread
    body |= {"unfurl_links": False, "unfurl_media": False}
    if settings.kind != "slack":
        return HttpRequest("POST", settings.address, (json,), msgspec.json.encode(body))
    method = "chat.postMessage"
    body["channel"] = thread_chat or message.chat or settings.chat
    if is_first and message.edits:
        method = "chat.update"
        chat, _, ts = message.edits.rpartition("/")
        # without `blocks` Slack may keep the old ones; `parse` is another by default than for a new message
        changed = {"channel": chat or body["channel"], "ts": ts, "parse": "none", "link_names": False}
        body = {"text": body["text"], "blocks": body.get("blocks", [])} | changed
    headers = (json, ("authorization", f"Bearer {settings.secret}"))
    return HttpRequest("POST", f"{(settings.address or API).rstrip('/')}/{method}", headers, msgspec.json.encode(body))
