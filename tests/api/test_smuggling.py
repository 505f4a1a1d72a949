"""No body is ever read as a request: every way a parser can leave a request, in one packet and in two."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.api.hubs import Hub
from tests.api.raw_line import RawLine
from tests.api.wire import ADMIN, OWNER

Open = Callable[[], RawLine]
UPGRADES = {
    "h2c": "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n",
    "h2c naming Content-Length": "Connection: Upgrade, Content-Length\r\nUpgrade: h2c\r\n",
    "two Connection headers": "Connection: keep-alive\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n",
    "websocket": "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
    "several": "Upgrade: foo/1, h2c\r\nConnection: upgrade\r\n",
    "in capitals": "UPGRADE: H2C\r\nCONNECTION: UPGRADE\r\n",
}


@pytest.fixture
def line(hub: Hub) -> Iterator[Open]:
    """Opens connections to the hub; they end with the test."""
    opened: list[RawLine] = []

    def open_one() -> RawLine:
        opened.append(RawLine(hub))
        return opened[-1]

    yield open_one
    for one in opened:
        one.close()


def head(target: str, *headers: str, key: str = OWNER) -> bytes:
    lines = [f"{target} HTTP/1.1", "Host: hub", *([f"X-API-Key: {key}"] if key else []), *headers, "", ""]
    return "\r\n".join(lines).encode()


def smuggled(task_id: str = "smuggled") -> bytes:
    body = b'{"id":"%s","content":"x"}' % task_id.encode()
    return head("POST /api/queue", f"Content-Length: {len(body)}", key=ADMIN) + body


def chunked(body: bytes, trailers: bytes = b"") -> bytes:
    return b"%x\r\n%s\r\n0\r\n%s\r\n" % (len(body), body, trailers)


@pytest.fixture(params=[1, 2, 3], ids=["one packet", "two packets", "many packets"])
def cut(request: pytest.FixtureRequest) -> Callable[[bytes, bytes], tuple[bytes, ...]]:
    """Head and body as packets."""

    def packets(first: bytes, then: bytes) -> tuple[bytes, ...]:
        if request.param == 1:
            return (first + then,)
        if request.param == 2:
            return (first, then)
        return (first[:10], first[10:-1], first[-1:] + then[:3], then[3:])

    return packets


@pytest.mark.parametrize("offer", UPGRADES.values(), ids=UPGRADES)
@pytest.mark.parametrize("framing", ["length", "chunks"])
def test_an_offer_to_upgrade_is_an_ordinary_request_and_the_last_one(hub, line, cut, offer, framing):
    body = b'{"id":"kept","content":"' + smuggled().replace(b'"', b"'").replace(b"\r\n", b"\\r\\n") + b'"}'
    frame = f"Content-Length: {len(body)}" if framing == "length" else "Transfer-Encoding: chunked"
    first = head("POST /api/queue", *offer.split("\r\n")[:-1], frame)
    sent = chunked(body) if framing == "chunks" else body
    (answer,) = line().send(*cut(first, sent + smuggled())).answers()
    assert answer.status == 201
    assert b"connection: close" in answer.head
    assert hub.pending() == ["kept"]


@pytest.mark.parametrize("offer", UPGRADES.values(), ids=UPGRADES)
def test_a_body_that_looks_like_a_request_is_a_body(hub, line, cut, offer):
    """The attack that was seen: the victim's connection of a proxy answered somebody else's request."""
    hidden = smuggled()
    first = head("POST /api/queue/heartbeat", *offer.split("\r\n")[:-1], f"Content-Length: {len(hidden)}")
    (answer,) = line().send(*cut(first, hidden)).answers()
    assert answer.status == 200
    assert hub.pending() == []


def test_a_beat_that_offers_h2c_is_the_beat_of_its_daemon(hub, line, cut):
    """Java's client and `curl --http2` offer it with every request."""
    body = b'{"daemonId":"mini","bootId":"b1","machineId":"m1","seq":1}'
    first = head("POST /api/queue/heartbeat", *UPGRADES["h2c"].split("\r\n")[:-1], f"Content-Length: {len(body)}")
    (answer,) = line().send(*cut(first, body)).answers()
    assert answer.status == 200
    assert [daemon["daemonId"] for daemon in hub.get("/api/daemons").of(200)["daemons"]] == ["mini"]


def test_connect_opens_no_tunnel(hub, line, cut):
    (answer,) = line().send(*cut(head("CONNECT hub:80"), smuggled())).answers()
    assert answer.status == 400
    assert hub.pending() == []


def test_trailers_are_no_headers(hub, line, cut):
    """Neither of their own request nor of the next one."""
    first = head("POST /api/queue", "Transfer-Encoding: chunked", key="")
    trailers = f"X-API-Key: {OWNER}\r\nX-API-Key: {OWNER}\r\n".encode()
    body = chunked(b'{"id":"t1","content":"x"}', trailers)
    raw = line().send(*cut(first, body))
    assert raw.answer().status == 401
    raw.send(head("GET /api/queue", "Connection: close", key=""))
    assert raw.answer().status == 401
    assert hub.pending() == []


def test_after_the_last_request_nothing_is_read(hub, line, cut):
    (answer,) = line().send(*cut(head("GET /api/queue", "Connection: close"), smuggled())).answers()
    assert answer.status == 200
    old = b"GET /health HTTP/1.0\r\nHost: h\r\n\r\n"
    (answer,) = line().send(*cut(old, smuggled())).answers()
    assert answer.status == 200
    assert hub.pending() == []


def test_a_body_that_was_promised_and_refused_is_no_request(hub, line):
    """A client that waits for 100 and is refused may send its body or the next request: nobody can tell which."""
    first = head("POST /api/queue", f"Content-Length: {2 << 20}", "Expect: 100-continue")
    (answer,) = line().send(first, smuggled()).answers()
    assert answer.status == 413
    assert b"connection: close" in answer.head
    assert hub.pending() == []


def test_a_body_that_was_promised_and_asked_for_counts(hub, line):
    body = b'{"id":"kept","content":"x"}'
    raw = line().send(head("POST /api/queue", f"Content-Length: {len(body)}", "Expect: 100-continue"))
    assert raw.answer().status == 100
    (answer,) = raw.send(body + smuggled()).answers()
    assert answer.status == 201
    assert hub.pending() == ["kept"]


@pytest.mark.parametrize(
    "broken",
    [
        b"GET / HTTP/1.1\r\nbad header\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        head("POST /api/queue", "Content-Length: 3", "Content-Length: 4"),
        head("POST /api/queue", "Content-Length: 3", "Transfer-Encoding: chunked"),
        head("POST /api/queue", "Transfer-Encoding: chunked, identity"),
        head("POST /api/queue", "Content-Length: +3"),
        head("POST /api/queue", "Transfer-Encoding: chunked") + b"zz\r\n",
        head("GET /health", *[f"X-{n}: y" for n in range(300)]),
        head("GET http://hub"),  # a parser of requests takes these, and a parser of URLs does not
        head("GET http://hub:99999/health"),
        head("POST https://", "Content-Length: 2") + b"{}",
    ],
)
def test_after_an_error_nothing_is_read(hub, line, cut, broken):
    """What stood before the error is answered, and in its place; what comes after it is not even looked at."""
    before = smuggled("before")
    found = line().send(*cut(before + broken, smuggled())).answers()
    assert [answer.status for answer in found] == [201, 400]
    assert hub.pending() == ["before"]
    found = line().send(*cut(broken, smuggled())).answers()
    assert [answer.status for answer in found] == [400]
    assert hub.pending() == ["before"]


def test_a_request_that_was_answered_early_gets_no_second_answer(hub, line):
    """401 goes out before the body has come; an error in that body must not be taken for the next one's answer."""
    raw = line().send(head("POST /api/queue", "Transfer-Encoding: chunked", key=""))
    assert raw.answer().status == 401
    raw.send(b"zz\r\n" + smuggled())
    assert raw.is_closed()
    assert hub.pending() == []


def test_requests_sent_ahead_are_answered_in_their_order(hub, line):
    ids = [f"t{n:04}" for n in range(1500)]
    everything = b"".join(smuggled(task_id) for task_id in ids)
    found = line().send(everything + head("GET /api/queue", "Connection: close")).answers()
    assert [answer.status for answer in found] == [201] * 1500 + [200]
    assert hub.pending() == ids[:1000]
