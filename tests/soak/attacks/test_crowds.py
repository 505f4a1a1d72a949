"""Thousands of silent or half-sent requests: daemons beat on, nobody is alarmed, and the hub stays small."""

from __future__ import annotations

import http.client
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from bench.processes import KEY
from tests.soak.watched import WatchedHub

pytestmark = pytest.mark.soak
CLIENTS = Path(__file__).with_name("silent_clients.py")
SOURCES = 4  # processes, each with an address of its own: one alone would have too few ports and files
ALL = 12_100
UNDER_ATTACK_S = 20.0
POLICY = {"late_after_ms": 10_000, "down_after_ms": 15_000, "heartbeat_interval_ms": 1_000}
HEAD = b"POST /api/queue/heartbeat HTTP/1.1\r\nHost: h\r\n"
BEGINNINGS = {
    "nothing": b"",
    "half a head": HEAD,
    "a second half head": b"GET /health HTTP/1.1\r\nHost: h\r\n\r\n" + HEAD,
    "half a body without a key": HEAD + b"Content-Length: 900000\r\n\r\n" + b" " * 1000,
    "a wrong key": HEAD + b"X-API-Key: wrong\r\nContent-Length: 2\r\n\r\n",
    "half a head behind a key": b"GET /api/queue HTTP/1.1\r\nHost: h\r\nX-API-Key: THEIRS\r\n\r\n" + HEAD,
}


@contextmanager
def silent_clients(port: int, beginning: bytes) -> Iterator[None]:
    """All of them are open while the block runs."""
    children = [
        subprocess.Popen(
            [sys.executable, CLIENTS, str(port), str(ALL // SOURCES), beginning.hex(), f"127.0.0.{n + 2}"],
            stdout=subprocess.PIPE,
        )
        for n in range(SOURCES)
    ]
    try:
        for child in children:
            assert child.stdout is not None
            assert child.stdout.readline() == b"open\n"
        yield
    finally:
        for child in children:
            child.kill()
            child.communicate()


class Beater:
    """A daemon's beats, on one connection that is kept, or on a new one for each."""

    def __init__(self, port: int, daemon_id: str, *, keeps: bool) -> None:
        self._port, self._keeps = port, keeps
        self._beat = {"daemonId": daemon_id, "bootId": "b", "machineId": daemon_id, "intervalSec": 1}
        self._line = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        self.statuses: list[int] = []
        self.slowest_s = 0.0

    def beat(self) -> None:
        """One beat, without a second try."""
        began = time.monotonic()
        body = msgspec.json.encode({**self._beat, "seq": len(self.statuses)})
        if not self._keeps:
            self._line.close()
        self._line.request("POST", "/api/queue/heartbeat", body, {"X-API-Key": KEY})
        answer = self._line.getresponse()
        answer.read()
        self.statuses.append(answer.status)
        self.slowest_s = max(self.slowest_s, time.monotonic() - began)

    def beat_on(self, is_over: threading.Event) -> None:
        """A daemon's life: a beat a second, until the end."""
        try:
            while not is_over.wait(1):
                self.beat()
        finally:
            self._line.close()


@pytest.mark.parametrize("name", BEGINNINGS)
def test_12_100_silent_clients_refuse_no_beat_and_alarm_nobody(name: str, tmp_path: Path, report) -> None:
    with WatchedHub(tmp_path, policy=POLICY) as hub:
        beaters = [Beater(hub.port, f"d{n}", keeps=n % 2 == 0) for n in range(6)]
        is_over = threading.Event()
        beating = [threading.Thread(target=beater.beat_on, args=(is_over,)) for beater in beaters]
        for thread in beating:
            thread.start()
        theirs = hub.call("POST", "/api/keys", {"name": "theirs", "scopes": ["submit"]})[1]["key"]
        try:
            with silent_clients(hub.port, BEGINNINGS[name].replace(b"THEIRS", theirs.encode())):
                time.sleep(UNDER_ATTACK_S)  # the passing of time is what is tested
                grown = hub.rss_mib()
        finally:
            is_over.set()
            for thread in beating:
                thread.join(30)
        statuses = {status for beater in beaters for status in beater.statuses}
        slowest = max(beater.slowest_s for beater in beaters)
        report(f"{ALL:,} clients with {name}: slowest beat {slowest:.2f} s, hub at {grown:.0f} MiB")
        assert statuses == {200}
        assert hub.call("GET", "/api/incidents")[1]["incidents"] == []
        assert {one["state"] for one in hub.call("GET", "/api/daemons")[1]["daemons"]} == {"healthy"}
        assert slowest < POLICY["late_after_ms"] / 1000
