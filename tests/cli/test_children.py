"""The logs of `up`: bounded, for their owner alone, and never given up for a moment without room or descriptors."""

from __future__ import annotations

import stat
import sys
import threading
from collections import deque

import pytest

from understudy.cli import children
from understudy.cli.children import LoggedChild
from understudy.private import open_private

LINES = 60
SAYS = f"#!/bin/sh\nn=0; while [ $n -lt {LINES} ]; do n=$((n + 1)); echo line $n >&2; done\n"


@pytest.fixture
def log(tmp_path, monkeypatch):
    """Where a program that says 60 lines writes, with 100 bytes to a log."""
    program = tmp_path / "says"
    program.write_text(SAYS)
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    monkeypatch.setattr(children, "LOG_BYTES_MAX", 100)
    return tmp_path / "logs" / "hub.log"


def lived(log):
    ended = threading.Event()
    child = LoggedChild("hub", [], {}, log, ended.set, is_quiet=True)
    assert ended.wait(30)
    child.stop(60)


def both(log):
    return [log.with_name("hub.log.1"), log]


def test_a_log_that_is_full_makes_way_and_the_one_before_is_kept(log):
    lived(log)
    assert {path.name for path in log.parent.iterdir()} == {"hub.log", "hub.log.1"}
    assert all(path.stat().st_size <= 100 + len("line 60\n") for path in both(log))
    assert "".join(path.read_text() for path in both(log)).endswith(f"line {LINES - 1}\nline {LINES}\n")
    assert {stat.S_IMODE(path.stat().st_mode) for path in both(log)} == {0o600}


def test_what_an_earlier_life_left_full_makes_way_at_the_start(log):
    log.parent.mkdir()
    log.write_text("of an earlier life\n" * 10)
    log.with_name("hub.log.1").write_text("of one before that\n")
    lived(log)
    assert "earlier" not in log.read_text()


def test_a_log_goes_on_when_for_a_while_no_new_one_can_be_opened(log, monkeypatch):
    tries = []

    def scarce(path):
        tries.append(path)
        if 1 < len(tries) < 5:
            raise OSError(24, "Too many open files")
        return open_private(path)

    monkeypatch.setattr(children, "open_private", scarce)
    lived(log)
    assert "".join(path.read_text() for path in both(log)).endswith(f"line {LINES - 1}\nline {LINES}\n")


def test_last_words_are_shown_though_more_words_come(log, monkeypatch):
    """Something that the child has left may still write while its end is reported."""
    child = LoggedChild.__new__(LoggedChild)
    child.recent = deque(["it", "broke"], maxlen=9)
    child._reader = threading.Thread(target=lambda: None)
    child._reader.start()
    real = children.safe

    def safe(line: str) -> str:
        child.recent.append("more")
        return real(line)

    monkeypatch.setattr(children, "safe", safe)
    assert child.last_words().split() == ["it", "broke"]
