"""A signal that was ignored when the daemon was started stays ignored: `nohup understudy daemon &`."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.daemon.fake_hub import FakeHub
from tests.daemon.live import LiveDaemon
from tests.waiting import eventually
from understudy.runtime.signals import heeded


@contextmanager
def ignoring(number: signal.Signals) -> Iterator[None]:
    before = signal.signal(number, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(number, before)


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    made = FakeHub()
    yield made
    made.close()


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGINT])
def test_an_inherited_ignored_signal_does_not_stop_the_daemon(
    hub: FakeHub, tmp_path: Path, number: signal.Signals
) -> None:
    with ignoring(number):
        daemon = LiveDaemon(hub.url, tmp_path, "cat", heartbeat_interval_ms=100)
    try:
        eventually(hub.beats, what="a beat")
        daemon.process.send_signal(number)
        before = len(hub.beats())
        eventually(lambda: len(hub.beats()) > before + 1, what="further beats")
        assert "Draining" not in daemon.log
        daemon.process.send_signal(signal.SIGTERM)
        assert daemon.process.wait(60) == 0
    finally:
        daemon.kill()


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGINT])
def test_what_was_ignored_is_not_heeded_and_an_end_always_is(number: signal.Signals) -> None:
    with ignoring(number):
        assert number not in heeded((signal.SIGTERM, number))
    with ignoring(signal.SIGTERM):
        assert heeded((signal.SIGTERM,)) == (signal.SIGTERM,)
