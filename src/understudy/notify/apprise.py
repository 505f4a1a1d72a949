"""Apprise, for every service that has no channel of its own here: an extra, imported only when it is used.

It gives no ids (so no edits, no threads) and no hint when to try again. It splits by the limits that it knows.
"""

from __future__ import annotations

import importlib
import logging
import re
from typing import Any

from msgspec.structs import replace

from understudy.notify.base import ChannelSettings, Message, Outcome, Refused, Sent
from understudy.notify.fitting import JOINER, utf8
from understudy.notify.outcomes import later, no_answer
from understudy.notify.plain import level_of, lines, paragraphs, parts_of, ready
from understudy.texts import t
from understudy.wire.causes import cause_of, is_local
from understudy.wire.outbound import AppriseAnswer, AppriseRequest, NoAnswer, OutboundAnswer

TEXT_MAX = 20_000  # bytes
# What a plug-in makes a mention of. Not `@scope/package` and not what stands behind a word or in a path, as in mail
# addresses and commands, unless it is surely a mention.
_MENTION = re.compile(
    r"@(?=[&!]|\d{15}|[UW][A-Z0-9]{7}|(?i:everyone|here)\b)"
    r"|(?<![\w/])@(?=\w)(?![\w.-]{1,214}/)"
    r"|!(?=(?i:channel|everyone|here|subteam)|[^| \n]{1,64}(?:[ \t]{0,64}\||>))"
)
MISSING, BAD_URL, FAILED = "missing", "bad_url", "failed"


def requests_for(settings: ChannelSettings, message: Message, *, is_plain: bool = False) -> tuple[AppriseRequest, ...]:
    """One call; Apprise splits it where its service needs that."""
    message = ready(message, settings)
    text = paragraphs(message.text, lines(message.facts), lines(message.links))
    body = parts_of(text, message, settings, TEXT_MAX, cost, parts_max=1)[0]
    return (AppriseRequest(settings.address, unmentioned(message.title), unmentioned(body), level_of(message).apprise),)


def outcome_of(settings: ChannelSettings, answer: OutboundAnswer) -> Outcome:
    """The outcome; Apprise gives no reason that programs understand, so a failure is tried again."""
    if not isinstance(answer, AppriseAnswer):
        return no_answer(settings, answer)
    if answer.ok:
        return Sent()
    if answer.reason in {MISSING, BAD_URL}:
        return Refused(t(f"channel.apprise_{answer.reason}", settings.language))
    if answer.is_local:
        return no_answer(settings, NoAnswer(answer.reason, was_sent=False, is_local=True))
    failed = later("channel.apprise_failed", settings, answer.reason)
    return replace(failed, is_partial=answer.targets > 1)


def unmentioned(text: str) -> str:
    """Text that names nobody: some plug-ins make mentions of `@everyone`, `<@&1>` or `!channel>`."""
    return _MENTION.sub(rf"\g<0>{JOINER}", text)


def cost(char: str) -> int:
    """The cost of a character at most, that of `unmentioned` included."""
    return utf8(char) + (utf8(JOINER) if char in "@!" else 0)


def call_apprise(request: AppriseRequest) -> AppriseAnswer:
    """Blocks until Apprise has tried, within the request's timeout; for a thread of the transport."""
    logging.getLogger("apprise").setLevel(logging.CRITICAL + 1)  # its lines may hold addresses, and so secrets
    try:
        return _call(importlib.import_module("apprise"), request)
    except ImportError:
        return AppriseAnswer(ok=False, reason=MISSING)
    except Exception as error:  # noqa: BLE001 - what 170 plug-ins may raise is nowhere written down
        return AppriseAnswer(ok=False, reason=cause_of(error), is_local=is_local(error))


def _call(apprise: Any, request: AppriseRequest) -> AppriseAnswer:
    asset = apprise.AppriseAsset(
        app_id="understudy", app_desc="understudy", app_url="", image_url_mask="", image_url_logo=""
    )
    caller = apprise.Apprise(asset=asset)
    if not caller.add(request.url + ("&" if "?" in request.url else "?") + "overflow=split"):
        return AppriseAnswer(ok=False, reason=BAD_URL)
    done = caller.notify(
        request.body,
        title=request.title,
        notify_type=request.level,
        body_format="text",
        timeout=request.timeout_ms / 1000,
    )
    if done:
        return AppriseAnswer(ok=True)
    return AppriseAnswer(ok=False, reason=FAILED, targets=sum(len(server) for server in caller))
