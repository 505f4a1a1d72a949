"""A prepared program is a program: its own environment, directory, files, number and end."""

from __future__ import annotations

import os
import shlex
import signal
import socket
import subprocess
import sys

import psutil
import pytest

from tests import prepared
from tests.fakes.keeper import words_of
from tests.waiting import eventually


def test_it_has_what_it_was_given_and_tells_its_end(tmp_path):
    code = "import os, sys; print(os.environ.get('A'), os.environ.get('B'), os.getcwd(), sys.argv[1:]); sys.exit(7)"
    with (tmp_path / "out").open("wb") as out:
        program = prepared.start(["x"], code=code, env={"A": "1"}, cwd=tmp_path, stdout=out)
        assert program.wait(60) == 7
    assert (tmp_path / "out").read_text() == f"1 None {os.path.realpath(tmp_path)} ['x']\n"
    assert program.pid != os.getpid()


def test_its_end_is_that_of_an_interpreter(tmp_path):
    code = """
import atexit, sys, threading, time
atexit.register(print, "at the end")
threading.Thread(target=lambda: (threading.main_thread().join(), print("a thread"))).start()
print("main")
sys.exit(int(sys.argv[1]) if sys.argv[1:] else "in words")
"""
    for arguments, status, words in ((["3"], 3, ""), ([], 1, "in words\n")):
        with (tmp_path / "out").open("wb") as out, (tmp_path / "err").open("wb") as err:
            program = prepared.start(arguments, code=code, stdout=out, stderr=err)
            assert program.wait(60) == status
        assert (tmp_path / "out").read_text() == "main\na thread\nat the end\n"
        assert (tmp_path / "err").read_text() == words


def test_one_that_ended_before_its_number_was_read_is_known_by_both():
    ours, theirs = socket.socketpair()
    with theirs:
        theirs.sendall(b"123\n0\n")
    program = prepared.Program(ours)
    assert (program.pid, program.wait(60)) == (123, 0)


def test_a_signal_ends_it_as_any_other(tmp_path):
    program = prepared.start([], code="import time; time.sleep(600)")
    assert program.poll() is None
    with pytest.raises(subprocess.TimeoutExpired):
        program.wait(0.01)  # short: it does not end
    program.kill()
    assert program.wait(60) == -signal.SIGKILL
    eventually(lambda: not psutil.pid_exists(program.pid), what="the end of the program")


def test_what_is_read_before_the_first_line_needs_an_interpreter():
    assert prepared.can_be({**os.environ, "UNDERSTUDY_HUB": "x"})
    assert not prepared.can_be({**os.environ, "PYTHONPATH": "/x"})
    assert not prepared.can_be({**os.environ, "LANG": "ja_JP.UTF-8"})


def test_only_what_this_interpreter_would_run_is_prepared(tmp_path):
    """A unit whose command line is any other is started as it stands."""
    ours = [sys.executable, "-P", "-m", "understudy"]
    script = tmp_path / "understudy"
    script.write_text(f'#!/bin/sh\nexec {shlex.join(ours)} "$@"\n')
    assert words_of([*ours, "hub"]) == ["hub"]
    assert words_of([str(script), "daemon", "--id", "x"]) == ["daemon", "--id", "x"]
    script.write_text(f'#!/bin/sh\nexec {sys.executable} -m understudy "$@"\n')
    for other in ([str(script), "daemon"], [sys.executable, "-m", "understudy", "hub"], ["/nowhere/understudy"]):
        assert words_of(other) is None
