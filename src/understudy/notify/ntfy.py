"""ntfy: one JSON message to a topic, with the level as priority and tag.

Limit: 4096 bytes a message (a longer one would become a file attached). ntfy shows the parts in order of arrival.
"""

from __future__ import annotations

from base64 import b64encode

import msgspec

from understudy.notify.base import Message, Outcome, Sent, Target
from understudy.notify.limits import cut, utf8
from understudy.notify.outcomes import by_status, is_ok, no_answer, unexpected
from understudy.notify.plain import level_of, lines, paragraphs, parts_of, ready
from understudy.wire.foreign import object_of
from understudy.wire.outbound import HttpAnswer, HttpRequest, OutboundAnswer

SERVER = "https://ntfy.sh"
TEXT_MAX = 4096
TITLE_MAX = 250
PARTS_MAX = 4
_PROGRESS_PRIORITY = 2  # makes no sound


def requests_for(target: Target, message: Message, *, is_plain: bool = False) -> tuple[HttpRequest, ...]:
    """One request a part; the first one carries title and link."""
    message = ready(message, target)
    text = paragraphs(message.text, lines(message.facts), lines(message.links))
    parts = parts_of(text, message, target, TEXT_MAX, utf8, parts_max=PARTS_MAX, is_fenced=False)
    return tuple(_request(target, message, part, is_first=at == 0) for at, part in enumerate(parts))


def outcome_of(target: Target, answer: OutboundAnswer) -> Outcome:
    """The message as it was kept, or an error with a text of its own."""
    if not isinstance(answer, HttpAnswer):
        return no_answer(target, answer)
    body = object_of(answer.body) or {}
    if is_ok(answer):
        return Sent() if body.get("id") else unexpected(target, answer)
    return by_status(target, answer, f"{body.get('code', '')} {body.get('error', '')}")


def _request(target: Target, message: Message, part: str, *, is_first: bool) -> HttpRequest:
    level = level_of(message)
    link = message.links[0][1] if message.links else message.link_full
    body = {
        "topic": message.chat or target.chat,
        "message": part,
        "title": cut(message.title, TITLE_MAX, utf8) if is_first else "",
        "priority": _PROGRESS_PRIORITY if message.kind == "progress" else level.priority,
        "tags": [level.tag] if level.tag and is_first else [],
        "click": link if is_first else "",
    }
    headers = [("content-type", "application/json")]
    if target.secret:
        basic = b64encode(target.secret.encode()).decode()
        headers.append(("authorization", f"Basic {basic}" if ":" in target.secret else f"Bearer {target.secret}"))
    said = msgspec.json.encode({name: value for name, value in body.items() if value})
    return HttpRequest("POST", target.address or SERVER, tuple(headers), said)
