"""ntfy: one JSON message to a topic, with the level as priority and tag.

Limits: 4096 bytes a message (a longer one would become a file attached), and twice that for all of its JSON. ntfy shows
the parts in order of arrival.
"""

from __future__ import annotations

from base64 import b64encode

import msgspec

from understudy.notify.base import ChannelSettings, Message, Outcome, Sent
from understudy.notify.fitting import cut, utf8
from understudy.notify.outcomes import by_status, is_ok, no_answer, unexpected
from understudy.notify.plain import level_of, lines, paragraphs, parts_of, ready
from understudy.wire.foreign_json import object_of
from understudy.wire.outbound import HttpAnswer, HttpRequest, OutboundAnswer

SERVER = "https://ntfy.sh"
TEXT_MAX = 4096
TITLE_MAX = 250
PARTS_MAX = 4
_ESCAPED = frozenset('"\\\n\t\r')  # two bytes each in JSON
_PROGRESS_PRIORITY = 2  # makes no sound


def requests_for(settings: ChannelSettings, message: Message, *, is_plain: bool = False) -> tuple[HttpRequest, ...]:
    """One request a part; the first one carries title and link."""
    message = ready(message, settings)
    text = paragraphs(message.text, lines(message.facts), lines(message.links))
    parts = parts_of(text, message, settings, 5 * TEXT_MAX, _fifths, parts_max=PARTS_MAX, is_fenced=False)
    return tuple(_request(settings, message, part, is_first=at == 0) for at, part in enumerate(parts))


def outcome_of(settings: ChannelSettings, answer: OutboundAnswer) -> Outcome:
    """The message as it was kept, or an error with a text of its own."""
    if not isinstance(answer, HttpAnswer):
        return no_answer(settings, answer)
    body = object_of(answer.body) or {}
    if is_ok(answer):
        return Sent() if body.get("id") else unexpected(settings, answer)
    return by_status(settings, answer, f"{body.get('code', '')} {body.get('error', '')}")


def _fifths(char: str) -> int:
    """A character's bytes in fifths, with one more if JSON escapes it: 3413 of such leave 1366 bytes for all else."""
    return 5 * utf8(char) + (char in _ESCAPED)


def _request(settings: ChannelSettings, message: Message, part: str, *, is_first: bool) -> HttpRequest:
    level = level_of(message)
    link = message.links[0][1] if message.links else message.link_full
    body = {
        "topic": message.chat or settings.chat,
        "message": part,
        "title": cut(message.title, TITLE_MAX, utf8) if is_first else "",
        "priority": _PROGRESS_PRIORITY if message.kind == "progress" else level.priority,
        "tags": [level.tag] if level.tag and is_first else [],
        "click": link if is_first else "",
    }
    headers = [("content-type", "application/json")]
    if settings.secret:
        basic = b64encode(settings.secret.encode()).decode()
        headers.append(("authorization", f"Basic {basic}" if ":" in settings.secret else f"Bearer {settings.secret}"))
    said = msgspec.json.encode({name: value for name, value in body.items() if value})
    return HttpRequest("POST", settings.address or SERVER, tuple(headers), said)
