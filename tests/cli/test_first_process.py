"""As process 1 of a container nothing stays a zombie, and signals and exit codes pass through."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

# Linux hands orphans to the next subreaper (PR_SET_CHILD_SUBREAPER, 36), as it does to process 1 of a container
START = """
import ctypes, os, signal, subprocess, sys, time
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)
from understudy.cli import first_process
first_process.LAST_S = 0.5
if sys.argv[1] == "buried":
    first_process.give_way()
"""
ORPHAN = """
orphan = int(subprocess.check_output(["sh", "-c", "true >/dev/null & echo $!"]))
until = time.monotonic() + float(sys.argv[2])
while time.monotonic() < until:
    try:
        os.kill(orphan, 0)
    except ProcessLookupError:
        sys.exit(7)
    time.sleep(0.01)
"""
TERM = """
signal.signal(signal.SIGTERM, lambda *_: sys.exit(9))
print("ready", flush=True)
signal.pause()
"""
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="containers")


def started(code, *arguments):
    return subprocess.Popen([sys.executable, "-P", "-c", START + code, *arguments], stdout=subprocess.PIPE, text=True)


def test_an_orphan_is_buried_and_the_exit_code_is_the_programs():
    with started(ORPHAN, "buried", "20") as process:
        assert process.wait(30) == 7


def test_a_signal_reaches_the_program():
    with started(TERM, "buried") as process:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 9


def test_a_program_that_is_killed_is_told_as_shells_do():
    with started("os.kill(os.getpid(), signal.SIGKILL)", "buried") as process:
        assert process.wait(30) == 137
