"""Programs that try to outlive their end: what a run may start, as one-liners for a real Python."""

from __future__ import annotations

import subprocess
import sys
import uuid
from pathlib import Path

import psutil

from tests.waiting import eventually

SLEEP = "import time; time.sleep(60)"
IGNORES_TERM = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
# each writes the pids it wants watched to the file named by its first argument
STUBBORN = f"""
import os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", {IGNORES_TERM + SLEEP!r}], start_new_session=True)
if os.fork() == 0:                       # double fork in a session of its own, with its environment wiped
    os.setsid()
    if os.fork() == 0:
        with open(sys.argv[1] + ".orphan", "w") as file: file.write(str(os.getpid()))
        os.execve(sys.executable, [sys.executable, "-c", {SLEEP!r}], dict(os.environ))
    os._exit(0)
while not os.path.exists(sys.argv[1] + ".orphan"): time.sleep(0.01)
orphan = open(sys.argv[1] + ".orphan").read()
with open(sys.argv[1] + ".tmp", "w") as file: file.write(f"{{os.getpid()}} {{child.pid}} {{orphan}}")
os.rename(sys.argv[1] + ".tmp", sys.argv[1])
time.sleep(60)
"""


def fresh(name: str) -> str:
    """A run id of this test alone: whoever carries it is killed, in other test processes too."""
    return f"{name}-{uuid.uuid4().hex}"


def stubborn(path: Path) -> tuple[str, ...]:
    """A program that ignores TERM, with a child in another session and an orphan that descends from nobody."""
    return (sys.executable, "-c", STUBBORN, str(path))


def pids_in(path: Path) -> list[int]:
    """The pids that the program noted, once it has."""
    return [int(word) for word in eventually(lambda: path.exists() and path.read_text(), what=str(path)).split()]


def living(pids: list[int]) -> list[int]:
    return [pid for pid in pids if _lives(pid)]


def _lives(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def start(argv: tuple[str, ...], run_id: str, env: dict[str, str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(argv, start_new_session=True, env={**env, "UNDERSTUDY_RUN_ID": run_id})
