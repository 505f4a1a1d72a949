"""The meaning of an answer for every service: later, or refused, with a reason for people.

Reasons never hold an address or a secret: what a service says is shown short and without URLs.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from msgspec.structs import replace

from understudy.notify.base import ChannelSettings, Later, Outcome, Refused, Sent
from understudy.notify.fitting import clean, cut
from understudy.texts import t
from understudy.wire import causes
from understudy.wire.outbound import HttpAnswer, NoAnswer, OutboundAnswer
from understudy.wire.retry_after import retry_after_ms

_SAID_CHARS_MAX = 160
_HEARD_CHARS_MAX = 2_000  # of what is said, the most that is looked at
_REF = re.compile(r"[!-~]{1,256}")
_TOKEN = re.compile(r"bot\d{1,20}:")
_BUSY = frozenset({408, 425, 429})
_FINAL = frozenset({301, 308, 401, 413})  # a proxy means it too: an address, a key or a size is to be changed
_SERVICES = (
    "slack.com",
    "slack-gov.com",
    "discord.com",
    "discordapp.com",
    "api.telegram.org",
    "ntfy.sh",
    "pagerduty.com",
)
_CAUSES = {word: f"channel.cause.{word.lower().replace(' ', '_').replace('-', '_')}" for word in causes.ALL}
_REASONS = {
    401: "channel.unauthorized",
    403: "channel.forbidden",
    404: "channel.not_found",
    410: "channel.not_found",
    413: "channel.too_large",
}


def by_status(settings: ChannelSettings, answer: HttpAnswer, said: str = "", *, after_ms: int = 0) -> Later | Refused:
    """The meaning of a status that is no success; 400 and 422 are perhaps a matter of formatting."""
    said = f"{answer.status} {said}"
    if answer.status in _BUSY:
        return later("channel.busy", settings, said, after_ms or retry_after_ms(answer))
    if answer.status >= 500:
        return later("channel.broken", settings, said, after_ms or retry_after_ms(answer))
    if is_page(answer) and answer.status not in _FINAL and _sends_no_pages(settings):
        return unexpected(settings, answer)  # a proxy's
    if 300 <= answer.status < 400:
        return refused("channel.redirected", settings, said)
    key = _REASONS.get(answer.status, "channel.refused")
    return refused(key, settings, said, as_plain=answer.status in {400, 422})


def _sends_no_pages(settings: ChannelSettings) -> bool:
    """True for the services themselves; a server of one's own says in a page that its path is wrong."""
    host = re.split(r"[/?#]", settings.address.partition("://")[2])[0].rpartition("@")[2].partition(":")[0].lower()
    is_default = not settings.address and (settings.kind != "webhook" or settings.format == "pagerduty")
    return is_default or any(f".{host}".endswith(f".{service}") for service in _SERVICES)


def no_answer(settings: ChannelSettings, answer: OutboundAnswer) -> Later | Refused:
    """Nothing came back. It may have arrived, so the next try carries the same key; what cannot be sent is refused."""
    if not isinstance(answer, NoAnswer):
        return later("channel.unanswered", settings, type(answer).__name__)
    word, colon, detail = answer.reason.partition(": ")
    word = t(_CAUSES[word], settings.language) if word in _CAUSES else word
    if answer.is_local:
        return refused("channel.unsendable", settings, detail or word)
    return later("channel.unanswered", settings, f"{word}{colon}{detail}")


def begun(answer: OutboundAnswer) -> OutboundAnswer:
    """For services whose status says it all: a success whose body did not come whole is one all the same."""
    head = answer.begun if isinstance(answer, NoAnswer) else None
    return head if head is not None and is_ok(head) else answer


def unexpected(settings: ChannelSettings, answer: HttpAnswer) -> Later:
    """A success in the wrong shape, as a proxy's page: an error must never look like an answer."""
    return later("channel.unexpected", settings, str(answer.status))


def later(key: str, settings: ChannelSettings, said: str, after_ms: int = 0) -> Later:
    """`Later` with a sentence in the receiver's language."""
    return Later(t(key, settings.language, said=shown(settings, said)), after_ms)


def refused(
    key: str, settings: ChannelSettings, said: str, *, as_plain: bool = False, without_edit: bool = False
) -> Refused:
    """`Refused` with a sentence in the receiver's language."""
    return Refused(t(key, settings.language, said=shown(settings, said)), as_plain=as_plain, without_edit=without_edit)


def sent(ref: str) -> Sent:
    """`Sent`; a name that no service gives a message (long, or with blanks) is none: it is kept and goes into URLs."""
    return Sent(ref if _REF.fullmatch(ref) else "")


def shown(settings: ChannelSettings, said: str) -> str:
    """The text of a service, fit to be shown: one short line without addresses and without our secrets."""
    said = said.replace("\\/", "/")  # as JSON may escape it
    for secret in settings.hidden:
        said = said.replace(secret, "…")
    if len(said) > _HEARD_CHARS_MAX:  # half an address would not be recognised: the word that is cut goes
        said = said[:_HEARD_CHARS_MAX].rpartition(" ")[0] + " …"
    words = ("…" if "://" in word or _TOKEN.search(word) else word for word in clean(said).split())
    return cut(" ".join(words), _SAID_CHARS_MAX)


def hushed(outcome: Outcome, clean: Callable[[str], str]) -> Outcome:
    """`outcome` with its words cleaned: a receiver may repeat whatever it was sent."""
    if isinstance(outcome, Sent):
        return replace(outcome, remark=clean(outcome.remark)) if outcome.remark else outcome
    return replace(outcome, reason=clean(outcome.reason))


def is_ok(answer: HttpAnswer) -> bool:
    """True if the status is a success."""
    return 200 <= answer.status < 300


def text_in(answer: HttpAnswer) -> str:
    """The beginning of a body that is neither JSON nor a web page."""
    text = answer.body[: 2 * _HEARD_CHARS_MAX].decode("utf-8", "replace").strip()
    return "" if text.startswith(("<", "{", "[")) else text


def is_page(answer: HttpAnswer) -> bool:
    """True if a body is a web page, as proxies and log-in screens send it."""
    return answer.body[:200].lstrip().startswith(b"<")
