"""E-mail: one RFC 5322 message, whole, threaded by what it is about.

The message id is made from the key, so a server or reader that sees a repeated delivery can drop it; everything
about one incident or task refers to the same root, which is how readers put it in one thread.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, parseaddr
from hashlib import sha256
from urllib.parse import unquote, urlsplit

from understudy.clock import moment
from understudy.errors import ConfigError
from understudy.notify.base import ChannelSettings, Message, Outcome, Sent
from understudy.notify.fitting import one_line
from understudy.notify.outcomes import later, no_answer, refused
from understudy.notify.plain import headline, lines, paragraphs, ready
from understudy.texts import t
from understudy.wire.outbound import MailAnswer, MailRequest, OutboundAnswer

RECIPIENTS_MAX = 100
ADDRESS_CHARS_MAX = 254  # RFC 5321
# RFC 5322, without quoted names and without blanks
_ADDRESS = re.compile(
    r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]{1,64}@(?:[A-Za-z0-9](?:[A-Za-z0-9._-]{0,250}[A-Za-z0-9])?|\[[0-9A-Za-z:.]{1,100}\])"
)
_PORTS = {"tls": 465, "starttls": 587, "none": 25}
_SECURITY = {"smtps": "tls", "smtp": "starttls", "smtp+plain": "none"}
_KEY_REFUSED = frozenset({530, 534, 535, 538})


def requests_for(settings: ChannelSettings, message: Message, *, is_plain: bool = False) -> tuple[MailRequest, ...]:
    """One mail; ConfigError if its settings are not complete."""
    message = ready(message, settings)
    host, port, security, user = _server(settings)
    # never `message.chat`: who may submit a task must not be able to send mail to anybody in the owner's name
    recipients = _addresses(settings, settings.chat)
    sender = _addresses(settings, settings.sender or user)
    if not recipients or len(sender) != 1 or len(recipients) > RECIPIENTS_MAX:
        raise ConfigError(t("channel.bad_target", settings.language, name=settings.name))
    content = _content(settings, message, sender[0], recipients)
    return (MailRequest(host, port, security, user, settings.secret, sender[0], recipients, content),)


def outcome_of(settings: ChannelSettings, answer: OutboundAnswer) -> Outcome:
    """4xx is for later, 5xx is final; the server's text is shown."""
    if not isinstance(answer, MailAnswer):
        return no_answer(settings, answer)
    said = f"{answer.code} {answer.text}"
    if answer.code < 200:  # no reply of a mail server: something else answers there
        return later("channel.unexpected", settings, answer.text)
    if answer.code < 300:
        return Sent(remark=refused("channel.refused", settings, answer.refused).reason if answer.refused else "")
    if answer.code < 500:
        return later("channel.busy", settings, said)
    return refused("channel.unauthorized" if answer.code in _KEY_REFUSED else "channel.refused", settings, said)


def _addresses(settings: ChannelSettings, text: str) -> tuple[str, ...]:
    """The bare addresses of `"Doe, Jane" <jane@x>, b@y; c@z`, each once. ConfigError names one that cannot be read."""
    found: dict[str, None] = {}
    for part in _parts(text):
        if not part.strip():
            continue
        address = parseaddr(part.strip())[1]
        name, _, host = address.rpartition("@")
        try:
            address = f"{name}@{host if host.startswith('[') else host.encode('idna').decode('ascii')}"
        except UnicodeError:
            address = ""
        if not _ADDRESS.fullmatch(address) or len(address) > ADDRESS_CHARS_MAX or part.count("@") > 1 + ("<" in part):
            raise ConfigError(
                t("channel.bad_address", settings.language, name=settings.name, value=one_line(part.strip()))
            )
        found[address] = None
    return tuple(found)


def _parts(text: str) -> Iterator[str]:
    """Its pieces between commas, semicolons and line ends; none within quotes, brackets or a comment."""
    begin, is_quoted, depth, is_escaped = 0, False, 0, False
    for at, char in enumerate(text):
        if is_escaped or (char == "\\" and (is_quoted or depth)):
            is_escaped = not is_escaped
        elif char == '"':
            is_quoted = not is_quoted
        elif not is_quoted and char in "<(":
            depth += 1
        elif not is_quoted and char in ">)":
            depth -= 1
        elif char in ",;\n" and not is_quoted and depth <= 0:
            yield text[begin:at]
            begin = at + 1
    yield text[begin:]


def _server(settings: ChannelSettings) -> tuple[str, int, str, str]:
    """Host, port, security and user of an address like `smtps://user@host:465`."""
    try:
        parts = urlsplit(settings.address)
        if parts.password:
            raise ConfigError(t("channel.password_in_address", settings.language, name=settings.name))
        security = _SECURITY[parts.scheme]
        return parts.hostname or "localhost", parts.port or _PORTS[security], security, unquote(parts.username or "")
    except (KeyError, ValueError):
        raise ConfigError(t("channel.bad_target", settings.language, name=settings.name)) from None


def _content(settings: ChannelSettings, message: Message, sender: str, recipients: tuple[str, ...]) -> bytes:
    mail = EmailMessage(policy=SMTP.clone(cte_type="7bit"))  # no server need know 8BITMIME
    mail["From"] = one_line(settings.sender) or sender
    mail["To"] = ", ".join(recipients)
    mail["Subject"] = headline(message) or one_line(message.text)[:70] or t("channel.empty", settings.language)
    mail["Date"] = format_datetime(moment(message.at))
    host = sender.rpartition("@")[2]
    mail["Message-ID"] = _id(message.key, host)
    root = message.thread if message.thread.startswith("<") else message.about and _id(message.about, host)
    if root:
        mail["In-Reply-To"] = root
        mail["References"] = root
    mail["Auto-Submitted"] = "auto-generated"  # RFC 3834: no holiday notes in return
    mail["X-Understudy-Delivery"] = one_line(message.key)
    text = paragraphs(headline(message), message.text, lines(message.facts), lines(message.links))
    mail.set_content(text or t("channel.empty", settings.language))
    return mail.as_bytes()


def _id(name: str, host: str) -> str:
    return f"<{sha256(name.encode('utf-8', 'replace')).hexdigest()[:32]}@{host}>"
