"""As process 1 of a container nothing stays a zombie, and signals and exit codes pass through."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import contextmanager, suppress

import psutil
import pytest

from tests.waiting import allowed_s, eventually

# Linux hands orphans to the next subreaper (PR_SET_CHILD_SUBREAPER, 36), as it does to process 1 of a container
START = """
import ctypes, os, signal, subprocess, sys, time
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)
from understudy.cli import first_process
first_process.LAST_S = 300  # whoever is left is waited for
if sys.argv[1] == "buried":
    first_process.give_way()
"""
ORPHAN = """
read, write = os.pipe()  # it ends after its shell, which would bury it
orphan = int(subprocess.check_output(["sh", "-c", "cat <&0 >/dev/null & echo $!"], stdin=read))
os.close(write)
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
LEAVES = """
left = subprocess.Popen(["cat"], stdout=subprocess.DEVNULL)
print(left.pid, flush=True)
os._exit(9)
"""
NO_CHILD = """
def no_child():
    raise BlockingIOError(11, "Resource temporarily unavailable")

os.fork = no_child
first_process.give_way()
signal.raise_signal(signal.SIGTERM)
"""
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="containers")


@contextmanager
def started(code, *arguments, given=None):
    command = [sys.executable, "-P", "-c", START + code, *arguments]
    with subprocess.Popen(command, stdin=given, stdout=subprocess.PIPE, text=True) as process:
        seen = psutil.Process(process.pid)
        try:
            yield process
        finally:
            with suppress(psutil.NoSuchProcess):
                for one in (*seen.children(recursive=True), seen):
                    one.kill()


def test_an_orphan_is_buried_and_the_exit_code_is_the_programs():
    with started(ORPHAN, "buried", "20") as process:
        assert process.wait(allowed_s(30)) == 7


def test_where_no_process_can_be_started_the_program_runs_without_one_and_hears_its_signals():
    with started(NO_CHILD, "alone") as process:
        assert process.wait(allowed_s(30)) == -signal.SIGTERM


def test_a_signal_reaches_the_program():
    with started(TERM, "buried") as process:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(allowed_s(30)) == 9


def test_a_program_that_is_killed_is_told_as_shells_do():
    with started("os.kill(os.getpid(), signal.SIGKILL)", "buried") as process:
        assert process.wait(allowed_s(30)) == 137


def test_who_is_left_when_the_program_ends_has_a_while():
    """The guard of a daemon that died ends its runs and gives their tasks back."""
    read, write = os.pipe()
    try:
        with started(LEAVES, "buried", given=read) as process:
            left = int(process.stdout.readline())
            first = psutil.Process(process.pid)
            eventually(lambda: [child.pid for child in first.children()] == [left], what="the end of the program")
            assert process.poll() is None
            os.close(write)
            write = -1
            assert process.wait(allowed_s(30)) == 9
    finally:
        os.close(read)
        if write >= 0:
            os.close(write)
