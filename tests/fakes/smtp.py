"""An SMTP server on loopback: EHLO, STARTTLS, AUTH, MAIL, RCPT, DATA; judges every mail.

One step of the plan for each conversation: 535 (AUTH), `Step(550, "rcpt")`, `Step(421, "greeting")`, any other
status after DATA; `hang` and `cut` come after DATA too, when the mail may or may not have arrived.

    with FakeSmtp(user="me@x.org", password="p") as smtp:
        Target("m", "email", address=smtp.address, chat="you@x.org", secret="p")
        smtp.mails[0]["Subject"]

`security="starttls"` or `"tls"` wants an `ssl.SSLContext` with a certificate.
"""

from __future__ import annotations

import email
import email.policy
import ssl
import time
from base64 import b64decode
from dataclasses import dataclass, field
from email.message import EmailMessage
from socketserver import BaseRequestHandler
from typing import Any
from urllib.parse import quote

from tests.fakes.server import FakeServer, Step

HEADERS = ("From", "To", "Subject", "Date", "Message-ID", "Auto-Submitted", "X-Understudy-Delivery")
SCHEMES = {"none": "smtp+plain", "starttls": "smtp", "tls": "smtps"}


@dataclass(frozen=True)
class Mail:
    """One mail as it came, with its envelope; `at` is monotonic seconds."""

    sender: str
    recipients: list[str]
    content: bytes
    at: float
    step: Step
    message: EmailMessage = field(repr=False)


class FakeSmtp(FakeServer):
    """`received` is every mail that came through DATA, `mails` those that were accepted."""

    received: list[Mail]  # type: ignore[assignment]

    def __init__(
        self, user: str = "", password: str = "", security: str = "none", context: ssl.SSLContext | None = None
    ) -> None:
        super().__init__()
        self.user = user
        self.password = password
        self.security = security
        self.context = context
        self.gone: set[str] = set()  # addresses that have no mailbox here
        self.mails: list[EmailMessage] = []

    @property
    def handler(self) -> type[BaseRequestHandler]:
        return Conversation

    @property
    def address(self) -> str:
        user = f"{quote(self.user, safe='')}@" if self.user else ""
        return f"{SCHEMES[self.security]}://{user}127.0.0.1:{self._port}"

    def next_step(self) -> Step:
        with self.lock:
            return self._plan.pop(0) if self._plan else self._always or Step()

    def take_mail(self, sender: str, recipients: list[str], content: bytes, step: Step) -> str:
        """Record it and say what the server answers after DATA."""
        message = email.message_from_bytes(content, policy=email.policy.default)
        with self.lock:
            self.received.append(Mail(sender, recipients, content, time.monotonic(), step, message))
            problems = problems_of(message, content)
            self.problems += problems
            if problems:
                return f"554 5.6.0 {problems[0]}"
            if step.status >= 400:
                return f"{step.status} {step.status // 100}.0.0 refused by the fake"
            self.mails.append(message)
            return "250 2.0.0 Ok: queued"


class Conversation(BaseRequestHandler):
    """One client from greeting to QUIT."""

    owner: FakeServer

    def handle(self) -> None:
        assert isinstance(self.owner, FakeSmtp)
        self.smtp = self.owner
        self.step = self.smtp.next_step()
        self.is_secret = self.smtp.security == "tls"
        self.is_known = not self.smtp.user
        self.sender, self.recipients = "", []
        self.socket = self._secured(self.request) if self.is_secret else self.request
        try:
            self.file = self.socket.makefile("rb")
            self._converse()
        finally:
            self.file.close()
            if self.socket is not self.request:
                self.socket.close()

    def _secured(self, plain: Any) -> Any:
        assert self.smtp.context
        return self.smtp.context.wrap_socket(plain, server_side=True)

    def _say(self, line: str) -> None:
        if self.step.word == "slow" and self.smtp.hold(self.step.seconds / 8):
            return
        self.socket.sendall(line.encode() + b"\r\n")

    def _converse(self) -> None:
        if self.step.word == "greeting":
            self._say(f"{self.step.status} no service")
            return
        self._say("220 fake ESMTP")
        while line := self.file.readline():
            verb, _, rest = line.decode("utf-8", "replace").strip().partition(" ")
            if verb.upper() == "QUIT":
                self._say("221 bye")
                return
            if verb.upper() == "DATA":
                if not self._data():
                    return
            else:
                self._say(self._reply(verb.upper(), rest))
            if verb.upper() == "STARTTLS":
                self.file.close()
                self.socket = self._secured(self.socket)
                self.file = self.socket.makefile("rb")
                self.is_secret = True

    def _reply(self, verb: str, rest: str) -> str:
        said = {"EHLO": self._hello, "HELO": self._hello, "STARTTLS": lambda: "220 go on"}
        if verb in said:
            return said[verb]()
        if self.smtp.security != "none" and not self.is_secret:
            return "530 5.7.0 Must issue a STARTTLS command first"
        if verb != "AUTH" and not self.is_known:
            return "530 5.7.0 Authentication required"
        then = {"AUTH": self._auth, "MAIL": self._mail, "RCPT": self._rcpt}.get(verb)
        return then(rest) if then else "250 Ok" if verb in {"RSET", "NOOP"} else "502 5.5.2 not known"

    def _hello(self) -> str:
        offers = ["fake"] + (["STARTTLS"] if self.smtp.security == "starttls" and not self.is_secret else [])
        offers += ["AUTH PLAIN LOGIN"] if self.smtp.user else []
        return "\r\n".join([f"250-{offer}" for offer in offers] + ["250 SIZE 10000000"])

    def _mail(self, rest: str) -> str:
        self.sender = rest.partition("<")[2].partition(">")[0]
        return "250 Ok"

    def _rcpt(self, rest: str) -> str:
        address = rest.partition("<")[2].partition(">")[0]
        if self.step.word == "rcpt" or address in self.smtp.gone:
            return f"{self.step.status if self.step.word == 'rcpt' else 550} no such person"
        self.recipients.append(address)
        return "250 Ok"

    def _auth(self, rest: str) -> str:
        kind, _, first = rest.partition(" ")
        if kind.upper() == "LOGIN":
            user = b64decode(first or self._ask("VXNlcm5hbWU6")).decode()
            password = b64decode(self._ask("UGFzc3dvcmQ6")).decode()
        else:
            _, user, password = b64decode(first or self._ask("")).decode().split("\0")
        self.is_known = (user, password) == (self.smtp.user, self.smtp.password) and self.step.status != 535
        return "235 2.7.0 welcome" if self.is_known else "535 5.7.8 wrong user or password"

    def _ask(self, question: str) -> bytes:
        self._say(f"334 {question}")
        return self.file.readline().strip()

    def _data(self) -> bool:
        if not self.sender or not self.recipients:
            self._say("503 5.5.1 MAIL and RCPT first")
            return True
        self._say("354 end with a dot")
        lines: list[bytes] = []
        while (line := self.file.readline()) != b".\r\n":
            if not line:
                return False
            lines.append(line[1:] if line.startswith(b".") else line)
        reply = self.smtp.take_mail(self.sender, self.recipients, b"".join(lines), self.step)
        if self.step.word == "hang":
            self.smtp.hold(3600)
        if self.step.word in {"hang", "cut"}:
            return False
        self._say(reply)
        self.recipients = []
        return True


def problems_of(message: EmailMessage, content: bytes) -> list[str]:
    """What a strict server or a reader would stumble over."""
    found = [f"header {name} is missing" for name in HEADERS if not message[name]]
    lines = content.split(b"\r\n")
    if any(b"\n" in line or b"\r" in line for line in lines):
        found.append("a bare line feed")
    if max(map(len, lines)) > 998:
        found.append("a line longer than 998")
    return found if content.isascii() else [*found, "8 bit content, and 8BITMIME was not offered"]
