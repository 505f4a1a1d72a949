"""E-mail: one RFC 5322 message, whole, threaded by what it is about.

The message id is made from the key, so a server or reader that sees a repeated delivery can drop it; everything
about one incident or task refers to the same root, which is how readers put it in one thread.
"""

from __future__ import annotations

from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, parseaddr
from hashlib import sha256
from urllib.parse import unquote, urlsplit

from understudy.errors import ConfigError
from understudy.notify.base import Message, Outcome, Sent, Target
from understudy.notify.limits import one_line
from understudy.notify.outcomes import later, no_answer, refused
from understudy.notify.plain import headline, lines, paragraphs, ready
from understudy.texts import t
from understudy.wire.outbound import MailAnswer, MailRequest, OutboundAnswer

_PORTS = {"tls": 465, "starttls": 587, "none": 25}
_SECURITY = {"smtps": "tls", "smtp": "starttls", "smtp+plain": "none"}
_KEY_REFUSED = frozenset({530, 534, 535, 538})


def requests_for(target: Target, message: Message, *, is_plain: bool = False) -> tuple[MailRequest, ...]:
    """One mail; ConfigError if the target is not complete."""
    message = ready(message, target)
    host, port, security, user = _server(target)
    # never `message.chat`: who may submit a task must not be able to send mail to anybody in the owner's name
    recipients = tuple(address for _, address in map(parseaddr, target.chat.split(",")) if address)
    sender = parseaddr(target.sender or user)[1]
    if not recipients or "@" not in sender:
        raise ConfigError(t("channel.bad_target", target.language, name=target.name))
    content = _content(target, message, sender, recipients)
    return (MailRequest(host, port, security, user, target.secret, sender, recipients, content),)


def outcome_of(target: Target, answer: OutboundAnswer) -> Outcome:
    """4xx is for later, 5xx for ever; what the server said is shown."""
    if not isinstance(answer, MailAnswer):
        return no_answer(target, answer)
    said = f"{answer.code} {answer.text}"
    if 200 <= answer.code < 300:
        return Sent()
    if answer.code < 500:
        return later("channel.busy", target, said)
    return refused("channel.unauthorized" if answer.code in _KEY_REFUSED else "channel.refused", target, said)


def _server(target: Target) -> tuple[str, int, str, str]:
    """Host, port, security and user of an address like `smtps://user@host:465`."""
    try:
        parts = urlsplit(target.address)
        if parts.password:
            raise ConfigError(t("channel.password_in_address", target.language, name=target.name))
        security = _SECURITY[parts.scheme]
        return parts.hostname or "localhost", parts.port or _PORTS[security], security, unquote(parts.username or "")
    except (KeyError, ValueError):
        raise ConfigError(t("channel.bad_target", target.language, name=target.name)) from None


def _content(target: Target, message: Message, sender: str, recipients: tuple[str, ...]) -> bytes:
    mail = EmailMessage(policy=SMTP.clone(cte_type="7bit"))  # no server need know 8BITMIME
    mail["From"] = one_line(target.sender) or sender
    mail["To"] = ", ".join(recipients)
    mail["Subject"] = headline(message) or one_line(message.text)[:70] or t("channel.empty", target.language)
    mail["Date"] = format_datetime(datetime.fromtimestamp(message.at / 1000, UTC))
    host = sender.rpartition("@")[2]
    mail["Message-ID"] = _id(message.key, host)
    root = message.thread if message.thread.startswith("<") else message.about and _id(message.about, host)
    if root:
        mail["In-Reply-To"] = root
        mail["References"] = root
    mail["Auto-Submitted"] = "auto-generated"  # RFC 3834: no holiday notes in return
    mail["X-Understudy-Delivery"] = one_line(message.key)
    text = paragraphs(headline(message), message.text, lines(message.facts), lines(message.links))
    mail.set_content(text or t("channel.empty", target.language))
    return mail.as_bytes()


def _id(name: str, host: str) -> str:
    return f"<{sha256(name.encode('utf-8', 'replace')).hexdigest()[:32]}@{host}>"
