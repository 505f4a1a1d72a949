"""Telegram: a bot's messages, plain text with a bold title by entities (no Markdown that output could break).

Each `@name` is an entity of type `code`, in which Telegram makes no mentions: what is copied is what was written.

The bot's token stands in the URL, as this API wants it: URLs are secret here and appear in no error. A ref is
`chat/message id`, because each chat counts its own; one without a chat, as earlier versions kept it, is none to change.
`thread` is a ref, the id of a message to answer, or `topic:ID`. Limit: 4096 UTF-16 units.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import msgspec

from understudy.notify.base import ChannelSettings, Message, Outcome, Refused, Sent
from understudy.notify.fitting import JOINER, cost_of, utf16
from understudy.notify.outcomes import by_status, is_ok, is_page, no_answer, refused, sent, shown, unexpected
from understudy.notify.plain import headline, parts_of, ready, whole
from understudy.texts import t
from understudy.wire.foreign_json import object_of
from understudy.wire.outbound import HttpAnswer, HttpRequest, OutboundAnswer
from understudy.wire.retry_after import wait_ms

API = "https://api.telegram.org"
TEXT_MAX = 4096
PARTS_MAX = 6
# What Telegram says in words only, and what it means for us.
_UNCHANGED = "message is not modified"
_GONE = (
    "message to edit not found",
    "message can't be edited",
    "message_id_invalid",
    "message thread not found",
    "message to be replied not found",
    "message to reply not found",
    "topic_closed",
    "topic_deleted",
)
ENTITIES_MAX = 100  # of a message; Telegram heeds no more
NAMES_MAX = 90  # of these
# An address in which an @name is a part of the path, else an @name: Telegram's server makes links and pings of these.
_MENTION = re.compile(
    r"https?://(?:[A-Za-z0-9-]{1,63}\.){1,9}[A-Za-z]{2,63}(?::\d{1,5})?[/?#][\w/.~%&=+#:?@-]*+"
    r"|(?<![A-Za-z0-9_])(?P<name>@\w++)"
)
_FORMAT = ("can't parse entities", "entity", "entities")


def requests_for(settings: ChannelSettings, message: Message, *, is_plain: bool = False) -> tuple[HttpRequest, ...]:
    """Text in parts; the title of the first one is bold. Without entities U+2060 keeps names from being mentions."""
    message = ready(message, settings)
    parts = parts_of(whole(message, settings), message, settings, TEXT_MAX, cost, parts_max=PARTS_MAX, is_fenced=False)
    bodies: list[dict[str, Any]] = [{"text": unmentioned(part) if is_plain else part} for part in parts]
    if not is_plain:
        for at, body in enumerate(bodies):
            title = headline(message) if message.title and at == 0 else ""
            if entities := list(_entities(body["text"], len(title))):
                body["entities"] = _heeded(entities)
    return tuple(_request(settings, message, body, is_first=at == 0) for at, body in enumerate(bodies))


def outcome_of(settings: ChannelSettings, answer: OutboundAnswer) -> Outcome:
    """`ok` and the message, or a description in words, with the seconds to wait or the chat's new id beside it."""
    if not isinstance(answer, HttpAnswer):
        return no_answer(settings, answer)
    body = object_of(answer.body) or {}
    if is_ok(answer):
        ref = _ref_in(body.get("result"))
        return sent(ref) if body.get("ok") is True and ref else unexpected(settings, answer)
    given = body.get("parameters")
    parameters = given if isinstance(given, dict) else {}
    if "migrate_to_chat_id" in parameters:
        chat = shown(settings, str(parameters["migrate_to_chat_id"]))
        return Refused(t("channel.moved", settings.language, chat=chat))
    said = str(body.get("description", ""))
    return _meaning(settings, answer, said, wait_ms(parameters.get("retry_after")))


def unmentioned(text: str) -> str:
    """Text that names nobody: no `@name` in it is a mention."""
    return _MENTION.sub(lambda found: f"@{JOINER}{found[0][1:]}" if found["name"] else found[0], text)


def cost(char: str) -> int:
    """The cost of a character at most, that of `unmentioned` included."""
    return 2 if char == "@" else utf16(char)


def _entities(text: str, bold_chars: int) -> Iterator[dict[str, Any]]:
    """Those of `text`, in order and side by side: names, and around them the title that it begins with."""
    at = 0
    for start, end in _names_in(text):
        if at < min(start, bold_chars):
            yield _entity(text, "bold", at, min(start, bold_chars))
        yield _entity(text, "code", start, end)
        at = end
    if at < bold_chars:
        yield _entity(text, "bold", at, bold_chars)


def _heeded(entities: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """As many as Telegram heeds: every name, and of the title the first bold pieces."""
    bold = [entity for entity in entities if entity["type"] == "bold"]
    left_out = bold[ENTITIES_MAX - (len(entities) - len(bold)) :]
    return [entity for entity in entities if entity not in left_out]


def _names_in(text: str) -> list[tuple[int, int]]:
    """The borders of each name; where there are too many, the last ones are covered as a whole."""
    found = [match.span() for match in _MENTION.finditer(text) if match["name"]]
    covered = [(found[NAMES_MAX - 1][0], len(text))] if len(found) > NAMES_MAX else []
    return found[: NAMES_MAX - 1] + covered if covered else found


def _entity(text: str, kind: str, start: int, end: int) -> dict[str, Any]:
    return {"type": kind, "offset": cost_of(text[:start], utf16), "length": cost_of(text[start:end], utf16)}


def _ref_in(result: Any) -> str:
    """The ref of a message that was sent or changed; "" if this is none."""
    message = result if isinstance(result, dict) else {}
    chat = message.get("chat")
    number, chat_id = message.get("message_id"), chat.get("id") if isinstance(chat, dict) else None
    return f"{chat_id or ''}/{number}" if number else ""


def _meaning(settings: ChannelSettings, answer: HttpAnswer, said: str, after_ms: int) -> Outcome:
    words = said.lower()
    if is_page(answer):
        return by_status(settings, answer, said, after_ms=after_ms)
    if _UNCHANGED in words:
        return Sent()
    if any(gone in words for gone in _GONE):
        return refused("channel.not_found", settings, said, without_edit=True)
    if answer.status == 400:
        key = "channel.not_found" if "chat not found" in words else "channel.refused"
        return refused(key, settings, said, as_plain=any(part in words for part in _FORMAT))
    if answer.status == 404:  # a token that no bot has
        return refused("channel.unauthorized", settings, f"404 {said}")
    return by_status(settings, answer, said, after_ms=after_ms)


def _request(settings: ChannelSettings, message: Message, body: dict[str, Any], *, is_first: bool) -> HttpRequest:
    body |= {"chat_id": message.chat or settings.chat, "link_preview_options": {"is_disabled": True}}
    method = "sendMessage"
    chat, _, number = message.edits.rpartition("/")
    if is_first and chat and number.isdecimal():
        method = "editMessageText"
        body |= {"chat_id": chat, "message_id": int(number)}
    else:
        body["disable_notification"] = message.kind == "progress"
        chat, _, place = message.thread.rpartition("/")
        body["chat_id"] = chat or body["chat_id"]
        kind, _, number = place.rpartition(":")
        if number.isdecimal() and kind == "topic":
            body["message_thread_id"] = int(number)
        elif number.isdecimal():
            body["reply_parameters"] = {"message_id": int(number), "allow_sending_without_reply": True}
    url = f"{(settings.address or API).rstrip('/')}/bot{settings.secret}/{method}"
    return HttpRequest("POST", url, (("content-type", "application/json"),), msgspec.json.encode(body))
