"""A hub that stops breaks nothing: whole answers, then refused connections."""

from __future__ import annotations

import signal
import socket
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from select import select

import pytest

from tests.api.hubs import Hub
from tests.api.test_claims import start_polls
from tests.api.wire import ADMIN, Client, Stream
from tests.hub_process import KEY, running_hub
from tests.waiting import allowed_s, eventually
from understudy.api.protocol import LINGER_S

BODY = b'{"content": "x"}'
HEAD = b"POST /api/queue HTTP/1.1\r\nhost: hub\r\ncontent-type: application/json\r\n"
REQUEST = HEAD + b"content-length: %d\r\nx-api-key: %s\r\n" % (len(BODY), KEY.encode())
UNBROKEN = {"answered", "refused", "closed while idle"}


class Sender:
    """Sends one request after the other, without a pause, until it is refused."""

    def __init__(self, port: int, *, keeps_alive: bool) -> None:
        self._port = port
        self._keeps_alive = keeps_alive
        self._connection: socket.socket | None = None
        self._asked_at = 0.0
        self.seen: Counter[str] = Counter()
        self.task_ids: list[str] = []

    def run(self) -> None:
        while not (self.seen.keys() - {"answered", "closed while idle"}):
            self.seen[self._exchange()] += 1

    def _exchange(self) -> str:
        """One request: how it ended."""
        is_new = self._connection is None
        try:
            connection = self._connection or socket.create_connection(("127.0.0.1", self._port), 30)
        except ConnectionRefusedError:
            return "refused"
        self._connection = None
        is_idle = not is_new and time.monotonic() - self._asked_at >= LINGER_S  # at most so long since its answer
        if not is_new and _is_ended(connection):  # a client looks before it asks
            connection.close()
            return "closed while idle" if is_idle else "broken: closed at once"
        self._asked_at = time.monotonic()
        answer = b""
        try:
            connection.sendall(REQUEST + (b"\r\n" if self._keeps_alive else b"connection: close\r\n\r\n") + BODY)
            while not _is_whole(answer):
                part = connection.recv(65536)
                if not part:
                    break
                answer += part
        except OSError as error:
            connection.close()
            return "closed while idle" if is_idle and not answer else f"broken: {error!r}"
        if not _is_whole(answer):
            return "closed while idle" if not is_new and not answer else f"cut: {answer!r}"
        return self._note(answer, connection)

    def _note(self, answer: bytes, connection: socket.socket) -> str:
        status, head, body = answer.split(b" ")[1], *answer.split(b"\r\n\r\n")
        if status != b"201":
            return f"status {status!r}: {body!r}"
        self.task_ids.append(body.split(b'"taskId":"')[1].split(b'"')[0].decode())
        if self._keeps_alive and b"connection: close" not in head:
            self._connection = connection
        else:
            connection.close()
        return "answered"


def _is_ended(connection: socket.socket) -> bool:
    """True if the hub has closed its half: it does that LINGER_S before it closes all, however late this thread is."""
    if not select([connection], [], [], 0)[0]:
        return False
    try:
        return not connection.recv(1, socket.MSG_PEEK)
    except OSError:
        return True


def _is_whole(answer: bytes) -> bool:
    head, end, body = answer.partition(b"\r\n\r\n")
    return bool(end) and len(body) == int(head.split(b"content-length: ")[1].split(b"\r\n")[0])


@pytest.mark.parametrize("drain", ["0s", "300ms"])
def test_nothing_is_broken_while_a_hub_stops(tmp_path: Path, drain: str) -> None:
    with running_hub(tmp_path, hub_drain=drain, rate_per_s=1_000_000, rate_burst=1_000_000) as hub:
        senders = [Sender(hub.port, keeps_alive=n % 2 == 0) for n in range(8)]
        threads = [threading.Thread(target=sender.run) for sender in senders]
        for thread in threads:
            thread.start()
        eventually(lambda: all(len(sender.task_ids) > 5 for sender in senders), what="requests under way")
        assert hub.stop() == 0
        for thread in threads:
            thread.join(60)
        seen = sum((sender.seen for sender in senders), Counter())
        assert seen.keys() <= UNBROKEN, seen
        hub.start()
        for task_id in [sender.task_ids[-1] for sender in senders]:
            hub.get(f"/api/tasks/{task_id}")


def test_ready_turns_first_and_requests_are_still_served(tmp_path: Path) -> None:
    with running_hub(tmp_path, hub_drain="10m", hub_name="hub-a") as hub:
        client = Client(hub.port, key=KEY)
        assert client.get("/ready", key=None).of(200)["hub"] == "hub-a"
        assert hub.process is not None
        with ThreadPoolExecutor(1) as pool:
            waiting = Client(hub.port, key=KEY)
            poll = pool.submit(waiting.post, "/api/queue/claim", {"waitSec": 50})
            hub.process.send_signal(signal.SIGTERM)
            eventually(lambda: client.get("/ready", key=None).status == 503, what="a hub that is not ready")
            assert client.get("/ready", key=None).body["draining"] is True
            assert client.get("/health", key=None).of(200)["status"] == "ok"
            task_id = client.post("/api/queue", {"content": "x"}).of(201)["taskId"]
            assert poll.result(60).of(200)["taskId"] == task_id, "polls still get tasks"
            waiting.close()
        client.close()
        began = time.monotonic()
        hub.process.send_signal(signal.SIGTERM)
        assert hub.process.wait(60) == 0
        assert time.monotonic() - began < allowed_s(10), "the second signal waits for nobody"


def test_long_polls_and_streams_end_well(tmp_path: Path) -> None:
    with running_hub(tmp_path) as hub:
        stream = Stream(hub.port, "/api/events?follow=1", key=KEY)
        stream.until("hub.started")
        with ThreadPoolExecutor(1) as pool:
            waiting = Client(hub.port, key=KEY)
            poll = pool.submit(waiting.post, "/api/queue/claim", {"waitSec": 50})
            eventually(lambda: hub.get("/api/queue") is not None)
            time_before = time.monotonic()
            assert hub.stop() == 0
            assert time.monotonic() - time_before < allowed_s(5)
            answer = poll.result(60)
            assert answer.of(200)["success"] is False, "no task is no refusal"
            assert answer.headers["connection"] == "close"
            waiting.close()
        said = stream.rest()
        assert ": this hub is stopping, come again" in said
        assert "retry: " in said
        stream.close()


def test_what_would_wait_on_a_hub_that_stops_does_not(hub: Hub) -> None:
    hub.thread.run(_let_go(hub))
    assert hub.get("/api/events?follow=1").of(503)["error"] == "The hub is stopping"
    began = time.monotonic()
    assert hub.claim("w", waitSec=50)["success"] is False
    assert time.monotonic() - began < allowed_s(5)
    assert hub.enqueue(), "what needs no waiting is served"


def test_a_barred_poll_is_let_go_at_once(hub: Hub) -> None:
    hub.beat().of(200)
    hub.post("/api/daemons/mini/pause", key=ADMIN).of(200)
    with ThreadPoolExecutor(1) as pool:
        (poll,) = start_polls(hub, pool, {"workerId": "mini"})
        began = time.monotonic()
        hub.thread.run(_let_go(hub))
        assert poll.result(60).of(200)["success"] is False
        assert time.monotonic() - began < allowed_s(1.5), "not at its next look"


async def _let_go(hub: Hub) -> None:
    hub.runtime.release_waiters()
