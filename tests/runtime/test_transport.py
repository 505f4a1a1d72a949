"""Every exchange with somebody else's server ends at its deadline, and no secret is in the reason."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from msgspec.structs import replace

from tests.fakes.server import Answer, FakeServer, Received
from tests.fakes.smtp import FakeSmtp
from tests.fakes.whole_request import read_whole
from tests.waiting import allowed_s
from understudy.notify import email
from understudy.notify.base import ChannelSettings, Later, Message, Refused
from understudy.runtime import transport
from understudy.runtime.transport import Transport
from understudy.wire import causes
from understudy.wire.outbound import HttpAnswer, HttpRequest, MailAnswer, MailRequest, NoAnswer

SECRET = "fake-secret-in-a-url"


@contextmanager
def serving(talk: Callable[[socket.socket], None]) -> Iterator[str]:
    """A web server that speaks as `talk` does, once a connection."""

    def answer(connection: socket.socket) -> None:
        read_whole(connection)
        talk(connection)

    with listening(answer) as port:
        yield f"http://127.0.0.1:{port}/{SECRET}"


@contextmanager
def listening(talk: Callable[[socket.socket], None]) -> Iterator[int]:
    """A server that speaks as `talk` does, once a connection."""
    listener = socket.create_server(("127.0.0.1", 0))

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                try:
                    talk(connection)
                except OSError:
                    continue

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield int(listener.getsockname()[1])
    finally:
        listener.close()


def ask(url: str, timeout_ms: int = 5_000, **more: object) -> HttpAnswer | NoAnswer:
    return Transport().http(HttpRequest("POST", url, body=b"{}", timeout_ms=timeout_ms, **more))  # type: ignore[arg-type]


def drip(head: bytes) -> Callable[[socket.socket], None]:
    """One byte at a time: each arrives long before a timeout between two of them."""

    def talk(connection: socket.socket) -> None:
        for byte in head + b"x" * 1000:
            connection.sendall(bytes([byte]))
            time.sleep(0.02)

    return talk


def test_an_answer_comes_whole_with_its_headers_in_lower_case() -> None:
    class Server(FakeServer):
        def answer(self, request: Received) -> Answer:
            return Answer(201, {"you": request.headers["x-key"]}, {"Retry-After": "7"})

    with Server() as server:
        answer = ask(f"{server.url}/a/b?c=d", headers=(("X-Key", "k"), ("content-type", "application/json")))
        assert isinstance(answer, HttpAnswer)
        assert (answer.status, answer.body, answer.headers["retry-after"]) == (201, b'{"you": "k"}', "7")
        (request,) = server.received
        assert (request.path, request.query, request.headers["user-agent"]) == ("/a/b", {"c": ["d"]}, "understudy")


@pytest.mark.parametrize(
    "head",
    [b"", b"HTTP/1.1 200 OK\r\nx-slow: ", b"HTTP/1.1 200 OK\r\ncontent-length: 2000\r\n\r\n"],
    ids=["status line", "headers", "body"],
)
def test_an_answer_that_drips_ends_at_the_deadline(head: bytes) -> None:
    with serving(drip(head)) as url:
        started = time.monotonic()
        answer = ask(url, 300)
        assert isinstance(answer, NoAnswer)
        assert answer.reason == "too slow"
        assert (answer.begun is not None) == bool(head)
        assert time.monotonic() - started < allowed_s(1.5)


@pytest.mark.parametrize("interim", [102, 103])
def test_an_answer_before_the_answer_is_no_refusal(interim: int) -> None:
    """`103 Early Hints` made a dead letter of a notice that had arrived."""
    said = b"HTTP/1.1 %d x\r\nLink: </a>\r\n\r\nHTTP/1.1 204 x\r\n\r\n" % interim
    with serving(lambda c: c.sendall(said)) as url:
        assert ask(url) == HttpAnswer(204)


@pytest.mark.parametrize(
    "said",
    [b"HTTP/9.9 200 OK\r\n\r\n", b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 500 + b"\r\n"],
    ids=["version", "headers without end"],
)
def test_what_is_no_http_is_called_so(said: bytes) -> None:
    with serving(lambda c: c.sendall(said)) as url:
        assert ask(url) == NoAnswer(causes.NO_HTTP)


def test_a_mail_server_whose_reply_never_ends_fills_no_memory() -> None:
    def talk(connection: socket.socket) -> None:
        connection.sendall(b"220-hello\r\n" * 300_000 + b"220 hello\r\n554 no\r\n554 no\r\n")
        while connection.recv(4_096):
            pass

    with listening(talk) as port:
        request = MailRequest("127.0.0.1", port, "none", "", "", "a@b", ("c@d",), b"x")
        assert Transport().send(request) == NoAnswer(causes.CUT)


@pytest.mark.parametrize(
    ("greeting", "code"), [(b"554 5.7.1 blocked", 554), (b"421 too busy", 421), (b"SSH-2.0-OpenSSH_9", -1)]
)
def test_a_mail_server_that_greets_with_a_refusal_is_heard(greeting: bytes, code: int) -> None:
    """What came after it was reported instead: a bad sequence of commands, or a connection that was cut."""

    def talk(connection: socket.socket) -> None:
        connection.sendall(greeting + b"\r\n")
        while code != 421 and connection.recv(4_096):
            connection.sendall(b"503 bad sequence\r\n")

    with listening(talk) as port:
        answer = Transport().send(MailRequest("127.0.0.1", port, "none", "", "", "a@b", ("c@d",), b"x"))
    assert isinstance(answer, MailAnswer)
    assert answer.code == code
    outcome = email.outcome_of(ChannelSettings("mail", "email"), answer)
    assert isinstance(outcome, Refused if code == 554 else Later)
    assert "bad sequence" not in outcome.reason


def test_no_answer_at_all_ends_at_the_deadline() -> None:
    with serving(lambda _: time.sleep(2)) as url:
        assert ask(url, 200) == NoAnswer("too slow")


@pytest.mark.parametrize(
    ("said", "reason", "body"),
    [
        (b"content-length: 99\r\n\r\nhalf", "connection cut", b"half"),
        (b"content-encoding: gzip\r\ncontent-length: 4\r\n\r\nhalf", "not HTTP", b"half"),
        (b"transfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n", "connection cut", b""),
    ],
    ids=["short", "badly packed", "without its end"],
)
def test_an_answer_that_is_cut_is_none_but_its_head_is_there(said: bytes, reason: str, body: bytes) -> None:
    with serving(lambda c: c.sendall(b"HTTP/1.1 200 OK\r\n" + said)) as url:
        answer = ask(url)
    assert isinstance(answer, NoAnswer)
    assert (answer.reason, answer.was_sent) == (reason, True)
    assert answer.begun is not None
    assert answer.begun.status == 200
    assert answer.begun.body in (body, b"half")


def test_an_answer_without_length_and_end_ends_at_the_deadline_and_its_head_is_there() -> None:
    def talk(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\nok")
        while connection.recv(65_536):  # the body of the request, until the other side hangs up
            pass

    with serving(talk) as url:
        assert ask(url, 300) == NoAnswer("too slow", begun=HttpAnswer(200, {}, b"ok"))


@pytest.mark.parametrize(
    ("headers", "expected"),
    [((), "Basic bWUgMTpw4oKs"), ((("authorization", "Bearer x"),), "Bearer x")],
    ids=["of the address", "of the channel"],
)
def test_a_name_and_password_in_an_address_are_sent(headers: tuple[tuple[str, str], ...], expected: str) -> None:
    with FakeServer() as fake:
        url = fake.url.replace("//", "//me%201:p%E2%82%AC@")
        Transport().http(HttpRequest("POST", url, headers, b"{}"))
        assert fake.received[0].headers["authorization"] == expected
        assert "@" not in fake.received[0].headers["host"]


def test_a_redirect_is_an_answer_and_not_followed() -> None:
    with FakeServer() as elsewhere:
        head = f"HTTP/1.1 307 Elsewhere\r\nlocation: {elsewhere.url}/x\r\ncontent-length: 0\r\n\r\n"
        with serving(lambda c: c.sendall(head.encode())) as url:
            answer = ask(url)
        assert isinstance(answer, HttpAnswer)
        assert (answer.status, elsewhere.received) == (307, [])


def test_an_endless_answer_is_cut_at_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "ANSWER_BYTES_MAX", 1_000)
    head = b"HTTP/1.1 200 OK\r\ncontent-length: 100000000\r\n\r\n"
    with serving(lambda c: c.sendall(head + b"x" * 300_000)) as url:
        answer = ask(url)
    assert isinstance(answer, HttpAnswer)
    assert len(answer.body) == 1_000


@pytest.mark.parametrize(
    "url",
    [
        f"http://127.0.0.1:1/{SECRET}",
        f"https://127.0.0.1:1/{SECRET}",
        f"http://no-such-host.invalid/{SECRET}",
        f"ftp://127.0.0.1/{SECRET}",
        f"http:///{SECRET}",
        f"{SECRET}",
    ],
)
def test_whatever_goes_wrong_is_a_reason_without_the_address(url: str) -> None:
    answer = ask(url)
    assert isinstance(answer, NoAnswer)
    assert answer.reason
    assert SECRET not in answer.reason
    assert "127.0.0.1" not in answer.reason


def test_a_mail_is_handed_over() -> None:
    with FakeSmtp() as server:
        address = f"smtp+plain://127.0.0.1:{server.url.rpartition(':')[2]}"
        target = ChannelSettings("mail", "email", address, "b@example.org", sender="a@example.org")
        (mail,) = email.requests_for(target, Message("notice-1", "notice", title="x", text="hello", at=1))
        answer = Transport().send(mail)
        assert isinstance(answer, MailAnswer)
        assert (answer.code, len(server.mails), server.problems) == (250, 1, [])


def test_a_mail_server_that_is_silent_ends_at_the_deadline() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        mail = MailRequest("127.0.0.1", listener.getsockname()[1], "none", "", "", "a@x.org", ("b@x.org",), b"", 300)
        started = time.monotonic()
        assert Transport().send(mail) == NoAnswer("too slow")
        assert time.monotonic() - started < allowed_s(1.5)


@pytest.mark.parametrize("password", ["plain", " p w ", "€ ü 山"])
@pytest.mark.parametrize("user", ["me@x.org", "mü@x.org"])
def test_a_password_may_hold_anything(user: str, password: str) -> None:
    with FakeSmtp(user=user, password=password) as server:
        target = ChannelSettings("mail", "email", server.address, "b@x.org", password, "a@x.org")
        (mail,) = email.requests_for(target, Message("n", "notice", text="hello", at=1))
        assert Transport().send(mail) == MailAnswer(250, "2.0.0 Ok: queued")
        assert isinstance(Transport().send(replace(mail, password=password + " ")), MailAnswer)
        assert len(server.mails) == 1


def test_every_cause_has_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]

    def nobody(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    mail = MailRequest("127.0.0.1", port, "none", "", "", "a@x.org", ("b@x.org",), b"", 5_000)
    for url in (f"http://127.0.0.1:{port}/", f"https://127.0.0.1:{port}/"):
        assert ask(url) == NoAnswer(causes.REFUSED, was_sent=False)
    assert Transport().send(mail) == NoAnswer(causes.REFUSED)
    assert Transport().send(replace(mail, security="tls")) == NoAnswer(causes.REFUSED)
    with serving(lambda c: c.sendall(b"not TLS at all\r\n")) as url:
        assert ask(url.replace("http:", "https:")).reason.startswith(causes.NO_TLS)  # type: ignore[union-attr]
        assert ask(url).reason == causes.NO_HTTP  # type: ignore[union-attr]
    with serving(lambda _: None) as url:
        assert ask(url) == NoAnswer(causes.CUT)
    with FakeSmtp() as plain:
        port = int(plain.url.rpartition(":")[2])
        assert Transport().send(replace(mail, port=port, security="starttls")) == NoAnswer(causes.NO_STARTTLS)
    monkeypatch.setattr(socket, "getaddrinfo", nobody)
    assert ask("https://host.example/") == NoAnswer(causes.UNKNOWN_HOST, was_sent=False)
    assert Transport().send(replace(mail, host="host.example")) == NoAnswer(causes.UNKNOWN_HOST)


@pytest.mark.parametrize("headers", [(("authorization", "Bearer €"),), (("x", "a\nb"),), (("x", None),)])
def test_what_cannot_be_written_is_no_trouble_of_the_network(headers: tuple[tuple[str, str], ...]) -> None:
    with FakeServer() as server:
        answer = ask(server.url, headers=headers)
    assert isinstance(answer, NoAnswer)
    assert answer.is_local
    assert answer.reason.startswith(causes.UNSENDABLE)


def test_a_mail_that_cannot_be_written_is_no_trouble_of_the_network() -> None:
    with FakeSmtp() as server:
        port = int(server.url.rpartition(":")[2])
        mail = MailRequest("127.0.0.1", port, "none", "", "", "a@x.org", ("ü@x.org",), b"")
        answer = Transport().send(mail)
    assert answer == NoAnswer(f"{causes.UNSENDABLE}: UnicodeEncodeError", is_local=True)


def test_a_path_may_hold_other_than_ascii() -> None:
    class Server(FakeServer):
        def answer(self, request: Received) -> Answer:
            return Answer(204)

    with Server() as server:
        assert isinstance(ask(f"{server.url}/für mich/%20?q=ü"), HttpAnswer)
        assert server.received[0].path in ("/f%C3%BCr%20mich/%20", "/für mich/ ")


def test_without_a_thread_to_count_the_time_it_is_tried_again_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """As an error of the network, not of the message: an alarm must not be given up for it."""

    def scarce(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", scarce)
    mail = MailRequest("127.0.0.1", 9, "none", "", "", "a@x", ("b@x",), b"")
    for request in (HttpRequest("POST", "http://127.0.0.1:9/", timeout_ms=1_000), mail):
        answer = Transport().send(request)
        assert isinstance(answer, NoAnswer)
        assert not answer.is_local
