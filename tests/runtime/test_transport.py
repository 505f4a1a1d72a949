"""Every exchange with somebody else's server ends at its deadline, and no secret is in the reason."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from tests.fakes.server import Answer, FakeServer, Received
from tests.fakes.smtp import FakeSmtp
from tests.waiting import allowed_s
from understudy.notify import email
from understudy.notify.base import Message, Target
from understudy.runtime import transport
from understudy.runtime.transport import Transport
from understudy.wire.outbound import HttpAnswer, HttpRequest, MailAnswer, MailRequest, NoAnswer

SECRET = "fake-secret-in-a-url"


@contextmanager
def serving(talk: Callable[[socket.socket], None]) -> Iterator[str]:
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
                    connection.recv(65_536)
                    talk(connection)
                except OSError:
                    continue

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/{SECRET}"
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
        assert ask(url, 300) == NoAnswer("too slow")
        assert time.monotonic() - started < allowed_s(1.5)


def test_no_answer_at_all_ends_at_the_deadline() -> None:
    with serving(lambda _: time.sleep(2)) as url:
        assert ask(url, 200) == NoAnswer("too slow")


def test_an_answer_that_is_cut_is_none() -> None:
    with serving(lambda c: c.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\nhalf")) as url:
        assert isinstance(ask(url), NoAnswer)


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
        target = Target("mail", "email", address, "b@example.org", sender="a@example.org")
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
