"""Connections to other servers: what comes back is whole, bounded, and can be cut at any moment."""

from __future__ import annotations

import gzip
import socket
import time
import zlib
from http.client import BadStatusLine, HTTPException, IncompleteRead

import pytest

from tests.daemon.raw_server import raw_server
from understudy.wire.dial import Cut, Server, TrustedCertificates, body_of
from understudy.wire.response import BoundedResponse


def fetched(answer: bytes, bytes_max: int = 1000) -> bytes:
    return spoken(b"HTTP/1.1 200 OK\r\n" + answer, bytes_max)


def spoken(said: bytes, bytes_max: int = 1000, piece: int = 0, step_s: float = 5) -> bytes:
    """The body of what a server says, `piece` bytes at a time if they are given."""
    url, thread = raw_server(said, piece=piece)
    server = Server(url, TrustedCertificates())
    connection = server.connect(5, step_s)
    try:
        connection.request("GET", server.target, headers=server.headers)
        return body_of(connection.getresponse(), bytes_max)
    finally:
        connection.close()
        thread.join(60)


def with_length(body: bytes, more: bytes = b"") -> bytes:
    return b"Content-Length: %d\r\n%b\r\n%b" % (len(body), more, body)


@pytest.mark.parametrize(
    "answer",
    [with_length(b"hello"), b"\r\nhello", b"Transfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"],
    ids=["length", "until the end", "chunks"],
)
def test_a_body_comes_whole_and_no_more_of_it_than_asked_for(answer):
    assert fetched(answer) == b"hello"
    assert fetched(answer, 4) == b"hell"


@pytest.mark.parametrize(
    "answer",
    [b"Content-Length: 6\r\n\r\nhello", b"Content-Length: 6\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n6\r\nhello"],
)
def test_a_body_that_breaks_off_is_no_answer(answer):
    with pytest.raises(IncompleteRead):
        fetched(answer)


@pytest.mark.parametrize("interim", [b"100 Continue", b"102 Processing", b"103 Early Hints"])
def test_answers_before_the_answer_are_passed_over_if_they_end(interim):
    before = b"HTTP/1.1 %b\r\nLink: </x>\r\n\r\n" % interim
    assert spoken(before * 3 + b"HTTP/1.1 200 OK\r\n" + with_length(b"hello")) == b"hello"
    with pytest.raises(BadStatusLine):
        spoken(before * 12 + b"HTTP/1.1 200 OK\r\n" + with_length(b"hello"))


def test_a_chunk_of_negative_length_does_not_mean_everything_there_is():
    with pytest.raises(BadStatusLine):
        fetched(b"Transfer-Encoding: chunked\r\n\r\n-1\r\n" + b"a" * 100_000)


def test_what_follows_the_last_chunk_has_an_end():
    chunks = b"Transfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n0\r\n"
    assert fetched(chunks + b"a: b\r\n\r\n") == b"he"
    with pytest.raises(HTTPException):
        fetched(chunks + b"a: b\r\n" * 500 + b"\r\n")


@pytest.mark.parametrize("body", [b"h", b"h" * 40], ids=["head", "body"])
def test_an_answer_that_drips_is_given_up_although_each_byte_is_in_time(body):
    with pytest.raises(TimeoutError):
        spoken(b"HTTP/1.1 200 OK\r\n" + with_length(body), piece=1, step_s=0.3)


def test_a_long_answer_that_flows_may_take_longer_than_its_first_byte():
    assert len(spoken(b"HTTP/1.1 200 OK\r\n" + with_length(b"h" * 60_000), 60_000, piece=2_000, step_s=0.3)) == 60_000


def test_what_goes_on_has_only_its_pauses_limited():
    url, thread = raw_server(b"HTTP/1.1 200 OK\r\n\r\n" + b"h" * 30, piece=1)
    connection = Server(url, TrustedCertificates()).connect(5, 5)
    connection.request("GET", "/")
    response = connection.getresponse()
    assert isinstance(response, BoundedResponse)
    response.goes_on(60)
    began = time.monotonic()
    assert response.read() == b"h" * 30
    assert time.monotonic() - began > 0.2
    thread.join(60)


@pytest.mark.parametrize("kind", [b"gzip", b"deflate", b" GZIP"])
def test_a_body_that_was_packed_unasked_is_unpacked_within_the_limit(kind):
    packed = zlib.compress(b"a" * 100_000) if kind == b"deflate" else gzip.compress(b"a" * 100_000)
    assert fetched(with_length(packed, b"Content-Encoding: %b\r\n" % kind)) == b"a" * 1000
    with pytest.raises(HTTPException):
        fetched(with_length(b"not packed", b"Content-Encoding: %b\r\n" % kind))


def test_what_is_cut_before_it_is_connected_ends_at_once():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        cut = Cut()
        cut.end()
        connection = Server(f"http://127.0.0.1:{silent.getsockname()[1]}", TrustedCertificates()).connect(60, 60)
        cut.guard(connection.sock)
        assert connection.sock.recv(1) == b""
        connection.close()
    with pytest.raises(TimeoutError):
        cut.check()


@pytest.mark.parametrize("url", ["", "x", "ftp://x/", "http://", "https:///x"])
def test_an_address_that_is_none_is_refused(url):
    with pytest.raises(ValueError, match="no http address"):
        Server(url, TrustedCertificates())


@pytest.mark.parametrize(
    ("url", "target"),
    [("http://h", "/"), ("http://h/a b?c=d e#f", "/a%20b?c=d%20e"), ("http://h/é%2F", "/%C3%A9%2F")],
)
def test_path_and_query_are_asked_for_as_http_wants_them(url, target, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    assert Server(url, TrustedCertificates()).target == target
