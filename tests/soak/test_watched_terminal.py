"""`status --watch` on a real terminal: a death within a second of its event, a restart of the hub, hostile names."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.listener import instant_ms
from tests.cli.program import PROGRAM
from tests.hub_process import HubProcess, running_hub
from tests.waiting import allowed_s

pytestmark = pytest.mark.soak
EVIL = "evil\x1b]0;title\x07\u202e\x1b[2J日本語"
COLUMNS, LINES = 40, 30
SEQUENCE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
OURS = re.compile(r"\x1b\[(?:[0-9;]*m|\?25[lh]|1A|2K)")  # colours, the cursor hidden and shown, lines drawn anew
EVENTS = {"▲ mini": "daemon.late", "✖ mini": "daemon.down"}


class Terminal:
    """A program on a terminal of 40 columns, and all that it wrote."""

    def __init__(self, hub: HubProcess) -> None:
        self.raw = ""
        self._end, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
        env = hub.env | {"TERM": "xterm", "UNDERSTUDY_LANG": "en"}
        command = [*PROGRAM, "status", "--watch"]
        self._process = subprocess.Popen(command, env=env, stdin=theirs, stdout=theirs, stderr=theirs)
        os.close(theirs)

    def shows(self, text: str, within_s: float) -> None:
        """Wait until it is drawn. AssertionError with what came instead."""
        end, seen = time.monotonic() + within_s, len(self.raw)
        while text not in SEQUENCE.sub("", self.raw[seen:]):
            assert time.monotonic() < end, f"{text!r} is not in {SEQUENCE.sub('', self.raw[-2000:])}"
            self._read(0.05)

    def _read(self, within_s: float) -> bool:
        if not select.select([self._end], [], [], within_s)[0]:
            return False
        with contextlib.suppress(OSError):  # Linux: the other end is closed
            chunk = os.read(self._end, 1 << 16)
            self.raw += chunk.decode("utf-8", "replace")
            return bool(chunk)
        return False

    def interrupt(self) -> int:
        """Ctrl-C → its exit code."""
        self._process.send_signal(signal.SIGINT)
        code = self._process.wait(allowed_s(10))
        while self._read(0.5):
            pass
        return code

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._end)


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[HubProcess]:
    with running_hub(tmp_path, late_after="3s", down_after="5s", heartbeat_interval="1s") as process:
        yield process


def beat(hub: HubProcess, name: str) -> None:
    hub.post("/api/queue/heartbeat", {"daemonId": name, "intervalSec": 1})


@pytest.fixture
def terminal(hub: HubProcess) -> Iterator[Terminal]:
    beat(hub, EVIL)
    beat(hub, "mini")
    opened = Terminal(hub)
    yield opened
    opened.close()


def at_of(hub: HubProcess, name: str) -> float:
    """When mini's event of that name was committed, in s since the epoch."""
    rows = hub.get("/api/events?limit=100")["events"]
    (found,) = [row for row in rows if row["name"] == name and row["fields"]["daemonId"] == "mini"]
    return instant_ms(found["at"]) / 1000


def test_a_death_is_drawn_within_a_second_of_its_event(hub: HubProcess, terminal: Terminal) -> None:
    terminal.shows("● mini", allowed_s(30))
    for drawn, event in EVENTS.items():
        terminal.shows(drawn, allowed_s(30))
        assert time.time() - at_of(hub, event) < allowed_s(1)
    beat(hub, "mini")
    terminal.shows("● mini", allowed_s(5))


def test_a_hub_that_is_away_is_said_and_it_goes_on_by_itself(hub: HubProcess, terminal: Terminal) -> None:
    terminal.shows("mini", allowed_s(30))
    hub.kill()
    terminal.shows("STALE for", allowed_s(10))
    hub.start()
    beat(hub, "mini")
    terminal.shows("● mini", allowed_s(20))
    assert terminal.interrupt() == 130
    assert "\x1b[?25h" in terminal.raw[-200:], "the cursor is shown again"


def test_nothing_but_our_own_sequences_reaches_a_terminal(hub: HubProcess, terminal: Terminal) -> None:
    terminal.shows("evil", allowed_s(30))
    terminal.shows("✖ mini", allowed_s(30))
    assert terminal.interrupt() == 130
    assert OURS.sub("", terminal.raw).count("\x1b") == 0
    assert "title" not in terminal.raw
    assert "\u202e" not in terminal.raw
