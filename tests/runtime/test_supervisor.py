"""What systemd is told: ready, alive only while well, stopping; and nothing where nobody listens."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import sys
import tempfile
import threading
from pathlib import Path

import pytest

from tests.hub_process import running_hub
from tests.waiting import eventually
from understudy.clock import SystemClock
from understudy.runtime import supervisor
from understudy.runtime.supervisor import Watchdog, more_time, tell_supervisor, watchdog_s


@pytest.fixture
def ears():
    nook = tempfile.mkdtemp()
    address = str(Path(nook) / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(address)
        listener.settimeout(60)
        yield listener, {"NOTIFY_SOCKET": address}
    shutil.rmtree(nook)


def test_words_arrive(ears):
    listener, environ = ears
    assert tell_supervisor("READY=1", environ)
    assert listener.recv(100) == b"READY=1"


@pytest.mark.skipif(sys.platform != "linux", reason="abstract sockets are Linux's")
def test_an_abstract_socket_is_reached():
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(f"\0understudy-{os.getpid()}")
        listener.settimeout(60)
        assert tell_supervisor("READY=1", {"NOTIFY_SOCKET": f"@understudy-{os.getpid()}"})
        assert listener.recv(100) == b"READY=1"


def test_one_that_does_not_read_is_not_waited_for(ears, monkeypatch):
    monkeypatch.setattr(supervisor, "TELL_WITHIN_S", 0)
    assert not all(tell_supervisor("READY=1", ears[1]) for _ in range(100_000))


@pytest.mark.parametrize("environ", [{}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "/nowhere/at/all"}])
def test_nobody_listens_and_nothing_happens(environ):
    assert not tell_supervisor("READY=1", environ)


@pytest.mark.parametrize(
    ("environ", "seconds"),
    [
        ({}, 0.0),
        ({"WATCHDOG_USEC": "60000000"}, 60.0),
        ({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "42"}, 60.0),
        ({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "43"}, 0.0),
        ({"WATCHDOG_USEC": "soon"}, 0.0),
    ],
)
def test_how_often_it_wants_to_hear(environ, seconds):
    assert watchdog_s(environ, 42) == seconds


def test_it_is_fed_only_while_well(ears):
    listener, environ = ears
    is_well, was_asked = threading.Event(), threading.Semaphore(0)
    is_well.set()

    def ask():
        was_asked.release()
        return is_well.is_set()

    watchdog = Watchdog({**environ, "WATCHDOG_USEC": "20000"}, ask, SystemClock(), pid=1)
    watchdog.ready()
    try:
        assert [listener.recv(100), listener.recv(100), listener.recv(100)] == [
            b"READY=1",
            b"WATCHDOG=1",
            b"WATCHDOG=1",
        ]
        is_well.clear()
        while was_asked.acquire(blocking=False):
            pass
        for _ in range(2):  # the first of these may still have been asked before
            assert was_asked.acquire(timeout=60)
        listener.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while listener.recv(100):
                pass
        for _ in range(3):
            assert was_asked.acquire(timeout=60)
        with pytest.raises(BlockingIOError):
            listener.recv(100)
        is_well.set()
        listener.settimeout(60)
        assert listener.recv(100) == b"WATCHDOG=1"
    finally:
        watchdog.close()


def test_a_start_that_takes_long_asks_for_more_time_again_and_again(ears, monkeypatch):
    listener, environ = ears
    monkeypatch.setattr(supervisor, "MORE_EVERY_MS", 1)
    with more_time(environ, SystemClock()):
        assert [listener.recv(100) for _ in range(3)] == [b"EXTEND_TIMEOUT_USEC=60000000"] * 3
    listener.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while listener.recv(100):
            pass
    tell_supervisor("READY=1", environ)
    assert listener.recv(100) == b"READY=1"


def test_a_start_that_nobody_limits_needs_no_thread():
    with more_time({}, SystemClock()):
        assert "more time" not in [thread.name for thread in threading.enumerate()]


def test_the_end_is_announced(ears):
    listener, environ = ears
    Watchdog(environ, lambda: True, SystemClock()).stopping(drain_s=1800)
    assert listener.recv(100) == b"STOPPING=1"
    assert listener.recv(100) == b"EXTEND_TIMEOUT_USEC=1845000000"  # the unit may be older than the setting


def test_a_real_hub_says_ready_alive_and_stopping(ears, tmp_path, monkeypatch):
    listener, environ = ears
    told: list[bytes] = []

    def listen():
        """All the time, as systemd does: what nobody reads fills the socket, and then the last word is lost."""
        while not told or told[-1] != b"STOPPING=1":
            told.append(listener.recv(100))

    listening = threading.Thread(target=listen, daemon=True)
    listening.start()
    for name, value in {**environ, "WATCHDOG_USEC": "200000"}.items():
        monkeypatch.setenv(name, value)
    with running_hub(tmp_path) as hub:
        eventually(lambda: len(told) >= 4, what="signs of life")
        assert hub.stop() == 0
    listening.join(60)
    assert told[:4] == [b"EXTEND_TIMEOUT_USEC=60000000", b"READY=1", b"WATCHDOG=1", b"WATCHDOG=1"]
    assert told[-1] == b"STOPPING=1"
