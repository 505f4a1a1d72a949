"""Sends what the hub itself wants to say to other servers: HTTP, mail, Apprise; every exchange ends at its deadline.

Nothing raises: whatever goes wrong on the way is `NoAnswer`. Redirects are not followed: a key goes nowhere else.
No secret is in a reason: it names the kind of trouble, never the address.
"""

from __future__ import annotations

import contextlib
import smtplib
from base64 import b64encode
from urllib.parse import urlsplit

from msgspec.structs import replace

from understudy.addresses import log_in_of
from understudy.notify.apprise import call_apprise
from understudy.runtime.bounded_smtp import Smtp, SmtpOverTls
from understudy.wire.causes import PROXY, TOO_SLOW, cause_of, is_local
from understudy.wire.dial import LOCAL, TROUBLE, Cut, Server, TrustedCertificates, body_of, deadline
from understudy.wire.outbound import (
    AppriseRequest,
    HttpAnswer,
    HttpRequest,
    MailAnswer,
    MailRequest,
    NoAnswer,
    OutboundAnswer,
    OutboundRequest,
)

CONNECT_S_MAX = 5.0
ANSWER_BYTES_MAX = 8 << 20
GREETED = 220
DATA_OK = 250
TAKEN = (250, 251)
PROXY_WANTS_LOG_IN = 407
GO_ON, LOGGED_IN = 334, 235


class Transport:
    """Threads may share it; each exchange has its own connection.

    `ca_file` is the authority of the owner's own hub: other servers have certificates that the system trusts.
    """

    def __init__(self, *, ca_file: str = "", user_agent: str = "understudy") -> None:
        self._trust = TrustedCertificates(ca_file, is_added=True)
        self._user_agent = user_agent

    def send(self, request: OutboundRequest) -> OutboundAnswer:
        """The answer, or why there is none, at the latest when `timeout_ms` is over (but for a slow resolver)."""
        match request:
            case HttpRequest():
                return self.http(request)
            case MailRequest():
                return self._mail(request)
            case AppriseRequest():
                return call_apprise(request)

    def http(self, request: HttpRequest) -> HttpAnswer | NoAnswer:
        """One HTTP exchange."""
        watch = Exchange()
        try:
            with deadline(watch, request.timeout_ms):
                return self._exchange(request, watch)
        except TROUBLE as error:
            return watch.no_answer(error)

    def _exchange(self, request: HttpRequest, watch: Exchange) -> HttpAnswer | NoAnswer:
        server = Server(request.url, self._trust)
        timeout_s = request.timeout_ms / 1000
        connection = server.connect(min(CONNECT_S_MAX, timeout_s), timeout_s)
        try:
            watch.guard(connection.sock)
            log_in = log_in_of(urlsplit(request.url))
            headers = {"User-Agent": self._user_agent, **({"authorization": log_in} if log_in else {})}
            headers |= dict(request.headers) | server.headers
            watch.was_sent = True
            connection.request(request.method, server.target, request.body or None, headers)
            watch.is_heard = True
            response = connection.getresponse()
            if server.is_proxied and response.status == PROXY_WANTS_LOG_IN:
                return NoAnswer(f"{PROXY}: {response.status}", was_sent=False)
            head = HttpAnswer(response.status, {name.lower(): value for name, value in response.headers.items()})
            watch.begun = head
            body = body_of(response, ANSWER_BYTES_MAX, watch.heard)
            watch.check()
            return replace(head, body=body)
        finally:
            connection.close()

    def _mail(self, request: MailRequest) -> MailAnswer | NoAnswer:
        """One SMTP conversation."""
        watch = Exchange()
        watch.was_sent = True  # a receiver that gets it twice sees the same id
        try:
            with deadline(watch, request.timeout_ms):
                return self._converse(request, watch)
        except smtplib.SMTPResponseException as error:
            return MailAnswer(error.smtp_code, _text(error.smtp_error))
        except smtplib.SMTPRecipientsRefused as error:
            code, text = next(iter(error.recipients.values()))
            return MailAnswer(code, _text(text))
        except (smtplib.SMTPException, OSError, *LOCAL) as error:
            return watch.no_answer(error)

    def _converse(self, request: MailRequest, watch: Exchange) -> MailAnswer:
        timeout_s = request.timeout_ms / 1000
        if request.security == "tls":
            smtp: smtplib.SMTP = SmtpOverTls(context=self._trust.context(), timeout=timeout_s)
        else:
            smtp = Smtp(timeout=timeout_s)
        try:
            # the name that TLS checks; smtplib knows it only if its constructor connects, beyond our deadline
            smtp._host = request.host  # type: ignore[attr-defined] # noqa: SLF001
            code, text = smtp.connect(request.host, request.port)
            if code != GREETED:  # as smtplib does it, if its constructor connects
                raise smtplib.SMTPConnectError(code, text)
            watch.guard(smtp.sock)
            smtp.ehlo_or_helo_if_needed()
            if request.security == "starttls":
                smtp.starttls(context=self._trust.context())
                watch.guard(smtp.sock)
                smtp.ehlo()
            if request.user:
                _log_in(smtp, request.user, request.password)
            return self._hand_over(smtp, request)
        finally:
            smtp.close()

    @staticmethod
    def _hand_over(smtp: smtplib.SMTP, request: MailRequest) -> MailAnswer:
        """To all who are taken: one address that is no more must not keep an alarm from the others."""
        code, text = smtp.mail(request.sender)
        refused: list[tuple[int, bytes]] = []
        if code == DATA_OK:
            replies = [smtp.rcpt(recipient) for recipient in request.recipients]
            refused = sorted(reply for reply in replies if reply[0] not in TAKEN)  # what may pass later comes first
            code, text = refused[0] if len(refused) == len(replies) else smtp.data(request.content)
        if code == DATA_OK:
            with contextlib.suppress(smtplib.SMTPException, OSError):
                smtp.quit()
        return MailAnswer(code, _text(text), " ".join(f"{reply[0]} {_text(reply[1])}" for reply in refused[:1]))


class Exchange(Cut):
    """Cuts the exchange when its time is over, however slowly the other side goes on, and knows how far it came."""

    def __init__(self) -> None:
        super().__init__()
        self.was_sent = False  # a byte of the request may have left
        self.is_heard = False  # it has left: what fails from here on is what came back
        self.begun: HttpAnswer | None = None  # the head of an answer
        self.heard: list[bytes] = []  # of its body

    def no_answer(self, error: Exception) -> NoAnswer:
        """The reason why there is no answer, without any address."""
        begun = self.begun and replace(self.begun, body=b"".join(self.heard))
        if self.is_over:
            return NoAnswer(TOO_SLOW, was_sent=self.was_sent, begun=begun)
        is_ours = not self.is_heard and is_local(error)
        return NoAnswer(cause_of(error), was_sent=self.was_sent, is_local=is_ours, begun=begun)


def _log_in(smtp: smtplib.SMTP, user: str, password: str) -> None:
    """As smtplib does, but with any characters (RFC 4616: UTF-8). SMTPException."""
    if user.isascii() and password.isascii():
        smtp.login(user, password)
        return
    offered = smtp.esmtp_features.get("auth", "").upper().split()
    if "PLAIN" in offered:
        code, text = smtp.docmd("AUTH", f"PLAIN {_base64(f'{chr(0)}{user}{chr(0)}{password}')}")
    elif "LOGIN" in offered:
        code, text = smtp.docmd("AUTH", f"LOGIN {_base64(user)}")
        if code == GO_ON:
            code, text = smtp.docmd(_base64(password))
    else:
        raise smtplib.SMTPNotSupportedError("no log-in for other than ASCII")
    if code not in (LOGGED_IN, 503):
        raise smtplib.SMTPAuthenticationError(code, text)


def _base64(text: str) -> str:
    return b64encode(text.encode()).decode("ascii")


def _text(said: bytes | str) -> str:
    return (said.decode("utf-8", "replace") if isinstance(said, bytes) else said)[:300]
