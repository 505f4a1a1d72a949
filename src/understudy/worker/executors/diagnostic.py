"""Executor `diagnostic`: answers with what it received and facts of the machine; needs no assistant at all.

It runs as a child process like every other, so that cancel, time limit and guard are proven by it too:
`python -P -m understudy.worker.executors.diagnostic` is that child.
"""

from __future__ import annotations

import os
import platform
import shutil
import sys

from understudy.clock import SystemClock, iso
from understudy.worker.executors import (
    NEW,
    TASK_MARKER,
    Ended,
    Outcome,
    PlainReading,
    Plan,
    Reading,
    Start,
    TaskToRun,
    markers,
)
from understudy.worker.executors.command import exit_error, replaced_text

_RECEIVED_CHARS_MAX = 2000


class Diagnostic:
    """Reads nothing but the prompt and changes nothing, so a lost run may simply be repeated: `requeue`."""

    name = "diagnostic"
    on_loss = "requeue"

    def __init__(self, env: dict[str, str], python: str = sys.executable) -> None:
        self._env = env
        self._python = python

    def provides(self) -> tuple[str, ...]:
        return ()

    def probe(self) -> Plan | None:
        return None

    def readiness(self, probed: Ended | None) -> str:
        return "ok"

    def plan(self, task: TaskToRun, run_id: str, start: Start = NEW) -> Plan:
        return Plan(
            argv=(self._python, "-P", "-m", "understudy.worker.executors.diagnostic"),
            env={**self._env, **markers(task, run_id)},
            stdin=task.content.encode("utf-8", "surrogatepass"),
        )

    def reading(self, start: Start = NEW) -> Reading:
        return PlainReading()

    def outcome(self, ended: Ended, reading: Reading | None = None) -> Outcome:
        if ended.code == 0:
            return Outcome(success=True, output=replaced_text(ended.stdout))
        return Outcome(success=False, error=exit_error(ended), failure_class="exit_code")


def report(received: str, task_id: str) -> str:
    """The answer of the diagnostic executor: what it received, and where."""
    disk = shutil.disk_usage(os.getcwd())  # noqa: PTH109 - pathlib would double the child's start-up time
    load = " ".join(f"{value:.2f}" for value in os.getloadavg())
    shown = received[:_RECEIVED_CHARS_MAX]
    rest = len(received) - len(shown)
    lines = (
        f"received: {shown}" + (f" … and {rest} more characters" if rest else ""),
        f"characters: {len(received)}",
        f"task: {task_id}",
        f"host: {platform.node()}",
        f"system: {platform.system()} {platform.release()} {platform.machine()}",
        f"python: {platform.python_version()}",
        f"time: {iso(SystemClock().now_ms())}",
        f"load: {load} on {os.cpu_count()} cores",
        f"disk: {disk.free // 2**20} MiB free of {disk.total // 2**20} MiB",
    )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    prompt = sys.stdin.buffer.read().decode("utf-8", "replace")
    sys.stdout.buffer.write(report(prompt, os.environ.get(TASK_MARKER, "")).encode())
