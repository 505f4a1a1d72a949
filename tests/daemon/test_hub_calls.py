"""The hub client against a hub that misbehaves: only JSON from the hub is an answer."""

from __future__ import annotations

import socket
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import closing, suppress
from http.client import HTTPConnection

import msgspec
import pytest
from msgspec.structs import replace

from tests.daemon.fake_hub import KEY, FakeHub
from tests.daemon.raw_server import raw_server
from tests.waiting import allowed_s
from understudy.daemon.hub_calls import HubCalls
from understudy.errors import ConfigError
from understudy.worker.effects import TOO_LARGE_ON_THE_WAY, Call, Failed, HubAnswer

BEAT = {"bootId": "b", "running": []}


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    hub = FakeHub()
    yield hub
    hub.close()


def client(url: str) -> HubCalls:
    return HubCalls(url, KEY, version="0")


def beat(timeout_ms: int = 5_000) -> Call:
    return Call("POST", "/api/queue/heartbeat", BEAT, timeout_ms)


def test_answer_is_status_and_body(hub: FakeHub) -> None:
    answer = client(hub.url).call(beat())
    assert isinstance(answer, HubAnswer)
    assert (answer.status, answer.body["success"]) == (200, True)


def test_refusal_is_an_answer_too(hub: FakeHub) -> None:
    hub.fault = lambda *_: (409, {"error": "x", "code": "superseded"})
    assert client(hub.url).call(beat()) == HubAnswer(409, {"error": "x", "code": "superseded"})


@pytest.mark.parametrize("fault", ["drop", "cut"])
def test_cut_connection_is_a_failure_and_the_next_call_works(hub: FakeHub, fault: str) -> None:
    faults = iter([fault])
    hub.fault = lambda *_: next(faults, None)
    hub_client = client(hub.url)
    assert isinstance(hub_client.call(beat()), Failed)
    assert isinstance(hub_client.call(beat()), HubAnswer)


def test_an_answer_that_drips_is_none_and_the_next_beat_is_sent_in_time() -> None:
    """A proxy that drips held the heartbeat without end, although each byte came in time."""
    url, thread = raw_server(b"HTTP/1.1 200 OK\r\nContent-Length: 17\r\n\r\n" + b'{"success": true}', piece=1)
    assert client(url).call(beat(timeout_ms=300)) == Failed("too slow")
    thread.join(60)


def test_silence_ends_with_the_timeout(hub: FakeHub) -> None:
    hub.fault = lambda *_: "hang"
    began = time.monotonic()
    assert isinstance(client(hub.url).call(beat(300)), Failed)
    assert time.monotonic() - began < allowed_s(1.5)


def test_nobody_there_is_a_failure() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    for scheme in ("http", "https"):
        assert client(f"{scheme}://127.0.0.1:{port}").call(beat()) == Failed("connection refused")
    assert client("http://no-such-host.invalid").call(beat()).reason in ("unknown host", "no name server answers")


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n<html>Log in</html>\n",
        b'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"success": true',
        b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n[1]\n",
        b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
        b"\x00\x01\x02 not HTTP at all\r\n\r\n",
        b"",
    ],
)
def test_what_is_not_json_of_a_hub_is_no_answer(answer: bytes) -> None:
    """A captive portal says 200 with a page: that is not `no tasks`, and the key follows no redirect."""
    url, thread = raw_server(answer)
    assert isinstance(client(url).call(beat(2_000)), Failed)
    thread.join(60)


@pytest.mark.parametrize("status", [b"400", b"403", b"404", b"502"])
@pytest.mark.parametrize("body", [b"<html>", b"", b'["error"]', b'{"message": "Not here"}', b'{"error": {"code": 7}}'])
def test_refusal_by_a_proxy_is_no_answer(status: bytes, body: bytes) -> None:
    """Finished work would be given up for it."""
    url, thread = raw_server(b"HTTP/1.1 %s No\r\nContent-Length: %d\r\n\r\n%s" % (status, len(body), body))
    answer = client(url).call(beat())
    assert isinstance(answer, Failed)
    assert answer.status == int(status), "what is refused for its content must not be sent again unchanged"
    thread.join(60)


@pytest.mark.parametrize("body", [b"<html>", b"", b'["error"]', b'{"message": "Not here"}'])
def test_too_large_for_a_proxy_is_told_as_that(body: bytes) -> None:
    """Sent again as it is, it would be refused for ever."""
    url, thread = raw_server(b"HTTP/1.1 413 No\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
    answer = client(url).call(beat())
    assert isinstance(answer, HubAnswer)
    assert (answer.status, answer.body["code"]) == (413, TOO_LARGE_ON_THE_WAY)
    thread.join(60)


def test_abort_cuts_the_named_call_short(hub: FakeHub) -> None:
    hub.boot = "b"
    hub_client = client(hub.url)
    body = {"bootId": "b", "requestId": "r", "max": 1, "waitSec": 20, "onLoss": "wait", "workerId": "w"}
    answers: list[HubAnswer | Failed] = []
    claim = Call("POST", "/api/queue/claim", body, 30_000, abort="claim")
    thread = threading.Thread(target=lambda: answers.append(hub_client.call(claim)))
    thread.start()
    while not hub.reported("/claim"):
        time.sleep(0.005)
    hub_client.abort("something else")
    hub_client.abort("claim")
    thread.join(60)
    assert isinstance(answers[0], Failed)
    hub_client.abort("claim")
    assert isinstance(hub_client.call(beat()), HubAnswer)


def test_abort_that_comes_as_a_call_ends_cuts_no_other_call(hub: FakeHub) -> None:
    """Its connection is kept by then, and the next heartbeat may be on it already."""
    hub_client = client(hub.url)
    statuses = []

    class TakenAtOnce(deque[HTTPConnection]):
        def append(self, connection: HTTPConnection) -> None:
            hub_client.abort("claim")
            with closing(connection):
                connection.request("POST", "/api/queue/heartbeat", msgspec.json.encode(BEAT), {"X-API-Key": KEY})
                statuses.append(connection.getresponse().status)

    hub_client._kept = TakenAtOnce()
    assert isinstance(hub_client.call(replace(beat(), abort="claim")), HubAnswer)
    assert statuses == [200]


def test_kept_connections_can_be_forgotten(hub: FakeHub) -> None:
    hub_client = client(hub.url)
    hub_client.call(beat())
    hub_client.reset()
    assert isinstance(hub_client.call(beat()), HubAnswer)


def test_a_kept_connection_that_the_hub_has_closed_is_not_used_again() -> None:
    """Not even for one failure: a beat that is due now must not wait for the next one."""
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"  # it says nothing of closing, and closes
    url, thread = raw_server(answer, answer)
    hub_client = client(url)
    assert hub_client.call(beat()) == HubAnswer(200, {})
    (kept,) = hub_client._kept
    kept.sock.settimeout(60)
    with suppress(ConnectionResetError):  # it had not read all of the request when it closed
        assert kept.sock.recv(1, socket.MSG_PEEK) == b""
    assert hub_client.call(beat()) == HubAnswer(200, {})
    thread.join(60)


def test_a_connection_is_kept_for_the_next_call(hub: FakeHub) -> None:
    hub_client = client(hub.url)
    hub_client.call(beat())
    (kept,) = hub_client._kept
    hub_client.call(beat())
    assert list(hub_client._kept) == [kept]


def test_path_of_the_address_is_kept() -> None:
    url, thread = raw_server(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
    assert client(f"{url}/hub/").call(beat()) == HubAnswer(200, {})
    thread.join(60)


@pytest.mark.parametrize("url", ["", "localhost:8787", "ftp://x", "http://"])
def test_address_that_is_none_is_refused_with_a_sentence(url: str) -> None:
    with pytest.raises(ConfigError, match="address of a hub"):
        client(url)
