"""Requests of the hub itself: pure values, made by channels and by takeover, sent by one transport."""

from __future__ import annotations

from msgspec import Struct


class HttpRequest(Struct, frozen=True):
    """One request to somebody else's server; `url` and `headers` may hold secrets and are never logged."""

    method: str
    url: str
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    timeout_ms: int = 10_000  # for the whole exchange, connection included


class HttpAnswer(Struct, frozen=True):
    """The response; header names in lower case, `body` cut at the transport's limit."""

    status: int
    headers: dict[str, str] = {}
    body: bytes = b""


class MailRequest(Struct, frozen=True):
    """One mail for one SMTP conversation; `password` is never logged."""

    host: str
    port: int
    security: str  # tls (from the first byte) | starttls (required, or nothing is sent) | none
    user: str  # "": no AUTH
    password: str
    sender: str  # of the envelope, a bare address
    recipients: tuple[str, ...]
    content: bytes  # the whole message, RFC 5322, lines end in CRLF
    timeout_ms: int = 30_000  # for the whole conversation


class MailAnswer(Struct, frozen=True):
    """The reply that decided: 250 after DATA, else the first one that refused; `text` is the server's own."""

    code: int
    text: str = ""
    refused: str = ""  # what was said of a recipient who did not get it, though others did


class AppriseRequest(Struct, frozen=True):
    """One call of the Apprise library; `url` holds secrets and is never logged."""

    url: str
    title: str
    body: str
    level: str  # info | warning | failure | success
    timeout_ms: int = 30_000


class AppriseAnswer(Struct, frozen=True):
    """Apprise's answer: no message id, and no hint when to try again. `reason` contains no URL."""

    ok: bool
    reason: str = ""
    is_local: bool = False  # as of `NoAnswer`
    targets: int = 1  # of the address; which of them got it, Apprise does not say


class NoAnswer(Struct, frozen=True):
    """Nothing came back as a whole: refused, cut, or too slow. It may have arrived, unless it was never sent."""

    reason: str  # as wire/causes names it
    was_sent: bool = True
    is_local: bool = False  # no matter of the network: it could not be written, and trying again is useless
    begun: HttpAnswer | None = None  # what there is of an answer whose body was cut, endless or badly packed


OutboundRequest = HttpRequest | MailRequest | AppriseRequest
OutboundAnswer = HttpAnswer | MailAnswer | AppriseAnswer | NoAnswer
