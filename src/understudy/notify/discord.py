"""Discord: a webhook whose messages can be changed; notices are embeds, answers are text.

Nothing pings (`allowed_mentions`), and a link always shows where it leads. The ref is the message's id; `thread` is
a thread's id, and a message in a thread is changed with both. Limits: `content` 2000, an embed 6000 in all.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import msgspec

from understudy.notify.base import ChannelSettings, Message, Outcome
from understudy.notify.fitting import cost_of, utf16
from understudy.notify.outcomes import by_status, is_ok, no_answer, refused, sent, unexpected
from understudy.notify.plain import fitting, headline, level_of, lines, paragraphs, parts_of, ready, whole
from understudy.wire.foreign_json import object_of
from understudy.wire.outbound import HttpAnswer, HttpRequest, OutboundAnswer
from understudy.wire.retry_after import wait_ms

CONTENT_MAX = 2000
TEXT_MAX = 2000  # of a description's 4096: title 256, fields 1800 and links 1600 count towards the 6000 too
PARTS_MAX = 8
INLINE_MAX = 40  # a short value stands beside others
SUPPRESS_EMBEDS = 4
_GONE = (10003, 10008, 50005)  # unknown channel (a thread) and message, a message of somebody else


def requests_for(settings: ChannelSettings, message: Message, *, is_plain: bool = False) -> tuple[HttpRequest, ...]:
    """A notice begins with an embed; what follows it, and answers, are text."""
    message = ready(message, settings)
    if is_plain or message.kind != "notice":
        parts = parts_of(whole(message, settings), message, settings, CONTENT_MAX, cost, parts_max=PARTS_MAX)
        bodies = [_text(part) for part in parts]
    else:
        bodies = _notice(settings, message)
    return tuple(_request(settings, message, body, is_first=at == 0) for at, body in enumerate(bodies))


def outcome_of(settings: ChannelSettings, answer: OutboundAnswer) -> Outcome:
    """`?wait=true` makes it answer with the message; errors carry a code, 429 the seconds to wait."""
    if not isinstance(answer, HttpAnswer):
        return no_answer(settings, answer)
    body = object_of(answer.body) or {}
    if is_ok(answer):
        return sent(str(body["id"])) if body.get("id") else unexpected(settings, answer)
    said = f"{body.get('code', '')} {body.get('message', '')}"
    if body.get("code") in _GONE:
        return refused("channel.not_found", settings, said, without_edit=True)
    return by_status(settings, answer, said, after_ms=wait_ms(body.get("retry_after")))


def links_shown(text: str) -> str:
    """Text in which `[label](url)` is no link, so that nobody is sent where the label does not say.

    Code is no exception: whether Discord takes a backtick for the beginning of code hangs on all those before it.
    """
    return text.replace("](", "] (")


def cost(char: str) -> int:
    """The cost of a character at most, the space of `links_shown` included."""
    return 2 if char == "(" else utf16(char)


def _text(part: str) -> dict[str, Any]:
    return {"content": links_shown(part), "embeds": []}


def _notice(settings: ChannelSettings, message: Message) -> list[dict[str, Any]]:
    facts, more_facts = fitting(message.facts, count=25, value_max=1000, total_max=1800, cost=cost)
    links, more_links = fitting(message.links, count=5, value_max=1500, total_max=1550, cost=utf16)
    text = paragraphs(message.text, lines(more_facts), lines(more_links))
    parts = parts_of(text, message, settings, TEXT_MAX, cost, parts_max=PARTS_MAX) if text else [""]
    embed = {
        "title": links_shown(headline(message)),
        "description": paragraphs(
            links_shown(parts[0]), " · ".join(f"[{_label(label)}]({url})" for label, url in links)
        ),
        "color": level_of(message).colour,
        "fields": [
            {"name": links_shown(label), "value": links_shown(value), "inline": cost_of(value, cost) <= INLINE_MAX}
            for label, value in facts
        ],
    }
    shown = {name: value for name, value in embed.items() if value}
    if shown.keys() == {"color"}:
        shown["description"] = whole(message, settings)
    first = {"content": "", "embeds": [shown]}
    return [first, *(_text(part) for part in parts[1:])]


def _label(label: str) -> str:
    return label.replace("[", "(").replace("]", ")")


def _request(settings: ChannelSettings, message: Message, body: dict[str, Any], *, is_first: bool) -> HttpRequest:
    parts = urlsplit(settings.address)
    query = dict(parse_qsl(parts.query)) | {"wait": "true"}
    if message.thread.isdecimal():
        query["thread_id"] = message.thread
    method, path = "POST", parts.path.rstrip("/")
    if is_first and message.edits.isdecimal():
        method, path = "PATCH", f"{path}/messages/{message.edits}"
        del query["wait"]
    elif message.kind != "notice":
        body["flags"] = SUPPRESS_EMBEDS  # no previews of whatever an answer mentions
    body["allowed_mentions"] = {"parse": []}
    url = urlunsplit((parts.scheme, parts.netloc, path, urlencode(query), ""))
    return HttpRequest(method, url, (("content-type", "application/json"),), msgspec.json.encode(body))
