"""A command for daemons under test that writes down when it starts and ends; and what to ask about its processes."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import psutil

from bench.processes import HERE, DaemonProcess, Hub, Process

RUN = HERE / "one_run.py"


class Diary:
    """The file that all runs write to, one line an event."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.touch()

    def command(self, seconds: float) -> list[str]:
        """The argv for a daemon whose runs last this long."""
        return [sys.executable, "-S", str(RUN), str(self.path), str(seconds)]

    def entries(self, task: str, event: str = "start") -> list[dict[str, Any]]:
        """What runs of this task (by its content) wrote."""
        lines = [json.loads(line) for line in self.path.read_text("utf-8").splitlines()]
        return [line for line in lines if line["task"] == task and line["event"] == event]

    def wait(self, task: str, event: str = "start", count: int = 1, within_s: float = 30) -> dict[str, Any]:
        """The entry number `count`, once it is there; RuntimeError otherwise."""
        deadline = time.monotonic() + within_s
        while time.monotonic() < deadline:
            found = self.entries(task, event)
            if len(found) >= count:
                return found[count - 1]
            time.sleep(0.005)
        raise RuntimeError(f"{event} number {count} of {task} did not come within {within_s} s")


def is_alive(pid: int) -> bool:
    """Whether a process runs (a zombie does not)."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def end_s(pids: list[int], within_s: float = 30) -> float:
    """Seconds from now until none of these processes runs; RuntimeError if one goes on."""
    started = time.monotonic()
    while any(is_alive(pid) for pid in pids):
        if time.monotonic() - started > within_s:
            raise RuntimeError(f"still running after {within_s} s: {[pid for pid in pids if is_alive(pid)]}")
        time.sleep(0.002)
    return time.monotonic() - started


def guard_of(daemon: Process) -> int:
    """The process id of a daemon's guard."""
    for child in psutil.Process(daemon.pid).children():
        if "understudy.worker.guard" in child.cmdline():
            return child.pid
    raise RuntimeError("this daemon has no guard")


def submit(hub: Hub, content: str, **fields: Any) -> str:
    """Enqueue one task; its id."""
    status, made = hub.call("POST", "/api/queue", {"content": content, **fields})
    if status != 201:
        raise RuntimeError(f"{status} {made}")
    return str(made["taskId"])


def daemon(hub_port: int, folder: Path, name: str, diary: Diary, run_s: float, **settings: Any) -> DaemonProcess:
    """A daemon whose runs write into the diary."""
    chosen = {"drain_ms": 500, **settings}
    return DaemonProcess(hub_port, folder / name, daemon_id=name, command=diary.command(run_s), **chosen)


def wait_idle(hub: Hub, name: str, within_s: float = 20) -> None:
    """Until the hub knows this daemon, and a moment for its long poll."""
    deadline = time.monotonic() + within_s
    while hub.call("GET", f"/api/daemons/{name}")[0] != 200:
        if time.monotonic() > deadline:
            raise RuntimeError(f"daemon {name} did not come")
        time.sleep(0.02)
    time.sleep(0.3)
