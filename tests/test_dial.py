"""Connections to other servers: what comes back is whole, bounded, and can be cut at any moment."""

from __future__ import annotations

import gzip
import socket
import zlib
from http.client import HTTPException, IncompleteRead

import pytest

from tests.daemon.raw_server import raw_server
from understudy.wire.dial import Cut, Server, Trust, body_of


def fetched(answer: bytes, bytes_max: int = 1000) -> bytes:
    url, thread = raw_server(b"HTTP/1.1 200 OK\r\n" + answer)
    server = Server(url, Trust())
    connection = server.connect(5, 5)
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
        connection = Server(f"http://127.0.0.1:{silent.getsockname()[1]}", Trust()).connect(60, 60)
        cut.guard(connection.sock)
        assert connection.sock.recv(1) == b""
        connection.close()
    with pytest.raises(TimeoutError):
        cut.check()


@pytest.mark.parametrize("url", ["", "x", "ftp://x/", "http://", "https:///x"])
def test_an_address_that_is_none_is_refused(url):
    with pytest.raises(ValueError, match="no http address"):
        Server(url, Trust())


@pytest.mark.parametrize(
    ("url", "target"),
    [("http://h", "/"), ("http://h/a b?c=d e#f", "/a%20b?c=d%20e"), ("http://h/é%2F", "/%C3%A9%2F")],
)
def test_path_and_query_are_asked_for_as_http_wants_them(url, target, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    assert Server(url, Trust()).target == target
