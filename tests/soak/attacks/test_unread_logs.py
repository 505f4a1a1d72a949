"""Nobody reads what hub, daemon, guard and `up` say: they go on, and say later how much is missing."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.program import understudy
from tests.hub_process import ADMIN_KEY, HubProcess
from tests.unread import Unread, unread
from tests.waiting import eventually

pytestmark = pytest.mark.soak
PROGRAM = (sys.executable, "-m", "understudy")
BEAT_S = 0.2
WITHIN_S = 60.0
MISSING = re.compile(r"Lines are missing here: they could not be written lines=(\d+)")


class UnreadHub(HubProcess):
    """A hub whose stderr is full from the first line on."""

    def __init__(self, data_dir: Path, pipe: Unread, **settings: Any) -> None:
        super().__init__(data_dir, **settings)
        self._pipe = pipe

    def start(self) -> UnreadHub:
        command = [*PROGRAM, "hub", "--port", str(self.port), "--data", str(self.data_dir)]
        self.process = subprocess.Popen(command, env={**os.environ, **self.environ}, stderr=self._pipe.end)
        eventually(self.is_ready, within_s=WITHIN_S, what="a hub whose stderr takes nothing")
        return self


@contextlib.contextmanager
def unread_daemon(hub: HubProcess, folder: Path, pipe: Unread) -> Iterator[subprocess.Popen[bytes]]:
    env = {**hub.env, "UNDERSTUDY_HEARTBEAT_INTERVAL": f"{BEAT_S}s", "LOG_DIR": str(folder / "logs")}
    command = [*PROGRAM, "daemon", "--id", "mini", "--data", str(folder / "daemon"), "--", "cat"]
    process = subprocess.Popen(command, env=env, stderr=pipe.end)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGCONT)
        process.terminate()
        process.wait(60)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[tuple[UnreadHub, Unread, subprocess.Popen[bytes], Unread]]:
    """A hub and a daemon, each with a full pipe as its stderr, and much to say."""
    with contextlib.ExitStack() as stack:
        pipes = [stack.enter_context(unread()) for _ in range(2)]
        hub = UnreadHub(
            tmp_path / "hub", pipes[0], late_after="1s", down_after="2s", log_level="debug", rate_per_s=10_000
        )
        stack.callback(hub.close)
        hub.data_dir.mkdir()
        hub.start()
        daemon = stack.enter_context(unread_daemon(hub, tmp_path, pipes[1]))
        eventually(lambda: state_of(hub) == "healthy", within_s=WITHIN_S, what="a healthy daemon")
        yield hub, pipes[0], daemon, pipes[1]


def state_of(hub: HubProcess) -> str:
    answer = hub.ask("GET", "/api/daemons/mini")
    return str(answer.body["state"]) if answer.status == 200 else ""


def is_done(hub: HubProcess, task_id: str) -> bool:
    return bool(hub.get(f"/api/tasks/{task_id}")["status"] == "done")


def test_hub_and_daemon_work_and_ring_and_say_later_what_is_missing(
    world: tuple[UnreadHub, Unread, subprocess.Popen[bytes], Unread], tmp_path: Path, report: Callable[[str], None]
) -> None:
    hub, hub_pipe, daemon, daemon_pipe = world
    for start in range(0, 9_000, 500):  # a line each, at least: more than a queue holds
        hub.post("/api/queue/batch", {"tasks": [{"content": "x", "needs": ["nobody"]} for _ in range(500)]})
        assert start or state_of(hub) == "healthy"
    task_id = hub.post("/api/queue", {"content": "still there?"})["taskId"]
    eventually(lambda: is_done(hub, task_id), within_s=WITHIN_S, what="an answer")
    daemon.send_signal(signal.SIGSTOP)
    eventually(lambda: state_of(hub) == "down", within_s=WITHIN_S, what="the alarm")
    daemon.send_signal(signal.SIGCONT)
    eventually(lambda: state_of(hub) in ("healthy", "recovered"), within_s=WITHIN_S, what="the return")
    said = hub_pipe.read_until("Lines are missing here", within_s=WITHIN_S)
    found = MISSING.search(said)
    assert found
    report(f"the hub says that {found[1]} lines are missing")
    hub.post("/api/queue", {"content": "read again"})
    assert hub.stop() == 0
    hub_pipe.read_until("Stopped")
    assert "Startup" in daemon_pipe.read_until("Startup")
    assert "Heartbeat" in (tmp_path / "logs/daemon.log").read_text()


def test_a_daemon_with_a_full_stderr_restarts_in_place_and_stops_in_time(
    world: tuple[UnreadHub, Unread, subprocess.Popen[bytes], Unread], report: Callable[[str], None]
) -> None:
    hub, _, daemon, _ = world
    before = hub.get("/api/daemons/mini")["bootId"]
    hub.post("/api/daemons/mini/directives", {"kind": "restart"}, key=ADMIN_KEY)
    eventually(lambda: hub.get("/api/daemons/mini")["bootId"] != before, within_s=WITHIN_S, what="another life")
    began = time.monotonic()
    daemon.terminate()
    assert daemon.wait(60) == 0
    assert hub.stop() == 0
    report(f"daemon and hub ended {time.monotonic() - began:.1f} s after SIGTERM")


CTRL_S, CTRL_Q = b"\x13", b"\x11"


class Terminal:
    """A terminal in which a command runs; its owner stops and continues it."""

    def __init__(self, folder: Path, *words: str) -> None:
        self.data = folder / "var"
        names = {"XDG_DATA_HOME": "data", "XDG_CONFIG_HOME": "config", "XDG_STATE_HOME": "state"}
        self.env = {**os.environ, "HOME": str(folder), "NO_COLOR": "1"} | {n: str(folder / d) for n, d in names.items()}
        self._keys, screen = pty.openpty()
        command = [*PROGRAM, *words, *(("--port", "0", "--data", str(self.data)) if words == ("up",) else ())]
        options: dict[str, Any] = {"stdin": screen, "stdout": screen, "stderr": screen, "start_new_session": True}
        self.process = subprocess.Popen(command, env=self.env, **options)
        os.close(screen)

    def press(self, keys: bytes) -> None:
        os.write(self._keys, keys)

    def read_until(self, words: str) -> None:
        said = ""
        while words not in said:
            assert select.select([self._keys], [], [], WITHIN_S)[0], f"no {words!r} in {said!r}"
            said += os.read(self._keys, 65_536).decode(errors="replace")

    def close(self) -> None:
        self.press(CTRL_Q)
        self.process.kill()
        self.process.wait()
        os.close(self._keys)


@pytest.fixture
def terminal(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Terminal]:
    terminal = Terminal(tmp_path, request.param)
    yield terminal
    terminal.close()


@pytest.mark.parametrize("terminal", ["drill"], indirect=True)
def test_a_stopped_terminal_does_not_stop_a_drill(terminal: Terminal) -> None:
    terminal.read_until("drill")
    terminal.press(CTRL_S)
    assert terminal.process.wait(WITHIN_S * 2) == 0


@pytest.mark.parametrize("terminal", ["up"], indirect=True)
def test_a_stopped_terminal_stops_neither_up_nor_its_children_nor_their_end(
    terminal: Terminal, report: Callable[[str], None]
) -> None:
    terminal.read_until("Ctrl-C stops")
    terminal.press(CTRL_S)
    log = terminal.data / "logs/daemon.log"
    for number in range(5):
        done = understudy("submit", f"number {number}", "--wait", env=terminal.env, within_s=WITHIN_S)
        assert done.code == 0, done.err
        eventually(lambda count=number + 2: log.read_text().count("Finished") >= count, what="lines in the log")  # type: ignore[misc]
    terminal.press(CTRL_Q)
    terminal.read_until("Finished")
    terminal.press(CTRL_S)
    understudy("submit", "last", "--wait", env=terminal.env, within_s=WITHIN_S)
    began = time.monotonic()
    terminal.process.terminate()
    assert terminal.process.wait(30) == 0
    report(f"`up` in a stopped terminal ended {time.monotonic() - began:.1f} s after SIGTERM")
