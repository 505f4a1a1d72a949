"""The daemon's end of the guard's pipe, with guards that read late, never, or not at all."""

from __future__ import annotations

import json
import os
import resource
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.waiting import eventually
from understudy.daemon import guard_link
from understudy.daemon.guard_link import GuardLink
from understudy.worker.guard_policy import Held, Hello, Rooted, Spawning

RUNS_MAX = 256  # CAPACITY


class Played:
    """A shell in place of the guard: reads only what the test lets it."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
        self.said, self.gate = folder / "said", folder / "gate"
        os.mkfifo(self.gate)
        program = folder / "guard"
        program.write_text(f"#!/bin/sh\ncd {folder}\n{script}\n")
        program.chmod(0o700)
        monkeypatch.setattr(sys, "executable", str(program))
        self.died = threading.Event()
        self.link = GuardLink(Hello("http://hub", "key", "mini"), {"PATH": os.environ["PATH"]}, self.died.set)
        self.link._is_first = False  # it replaces another: it gets the key when it says that it is hidden
        self.link.start()

    def heard(self) -> list[tuple[str, str]]:
        """(kind, run) of each whole line so far."""
        whole = self.said.read_text().split("\n")[:-1] if self.said.exists() else []
        lines = [json.loads(line) for line in whole]
        return [(line["type"], line.get("run_id", "")) for line in lines]


@pytest.fixture
def play(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Played]]:
    guards: list[Played] = []

    def played_by(script: str) -> Played:
        guards.append(Played(tmp_path, monkeypatch, script))
        return guards[-1]

    yield played_by
    for played in guards:
        process = played.link._process
        if process is not None:
            process.kill()
        played.link.close()


def tell_all(link: GuardLink) -> list[tuple[str, str]]:
    """As guard_keeper does, of as many runs as a daemon may have."""
    told = []
    for nth in range(RUNS_MAX):
        run_id = f"{nth:036}"
        for message in (
            Spawning(run_id, "t" * 128, 1_770_000_000_000, "wait", 123_456_789, is_named=True),
            Rooted(run_id, 1_234_567, 123_456_789.0),
            Held(run_id, 123_456_789),
        ):
            link.tell(message)
            told.append((type(message).__struct_config__.tag, run_id))
    return told


def test_a_guard_that_has_not_read_yet_gets_every_run_in_order(play: Callable[[str], Played]) -> None:
    played = play("read go < gate; exec cat > said")
    pid = played.link.pid
    told = tell_all(played.link)
    assert played.link.pid == pid
    played.gate.write_text("go\n")
    eventually(lambda: len(played.heard()) >= len(told), what="all runs")
    assert played.heard() == told
    assert eventually(lambda: played.link.tell(Held("later", 1)), what="a pipe with room")
    assert played.link.pid == pid


def test_a_run_is_not_begun_before_the_guards_pipe_has_it(play: Callable[[str], Played]) -> None:
    played = play("read go < gate; exec cat > said")
    tell_all(played.link)
    begun = Spawning("new", "t", 1, "wait", 1)
    assert not played.link.tell(begun)
    played.gate.write_text("go\n")
    assert eventually(lambda: played.link.tell(begun), what="a pipe with room")


def test_at_the_end_of_a_daemon_its_guard_still_gets_everything(
    monkeypatch: pytest.MonkeyPatch, play: Callable[[str], Played]
) -> None:
    """A run that it does not know to be done is in its last will: the task ran twice."""
    monkeypatch.setattr(guard_link, "HAND_OVER_S", 30.0)
    played = play("read go < gate; exec cat > said")
    played.link._fed, played.link._took_s = played.link._process, time.monotonic()  # no thread helps
    told = tell_all(played.link)
    assert played.link._backlog
    played.gate.write_text("go\n")
    assert played.link.close()
    assert played.heard() == told


def test_the_end_of_a_daemon_does_not_wait_for_a_guard_that_reads_nothing(
    monkeypatch: pytest.MonkeyPatch, play: Callable[[str], Played]
) -> None:
    for limit in ("HAND_OVER_S", "EXIT_S_MAX"):
        monkeypatch.setattr(guard_link, limit, 0.05)
    played = play("read go < gate")
    process = played.link._process
    assert process is not None
    tell_all(played.link)
    assert not played.link.close()
    process.kill()


def test_a_guard_that_reads_nothing_is_put_down(monkeypatch: pytest.MonkeyPatch, play: Callable[[str], Played]) -> None:
    monkeypatch.setattr(guard_link, "DEAF_S", 0.2)
    monkeypatch.setattr(guard_link, "FEED_S", 0.05)
    played = play("read go < gate")
    tell_all(played.link)
    assert played.died.wait(60)
    assert (played.link.pid, played.link.tell(Held("r", 1)), len(played.link._backlog)) == (0, False, 0)


def test_what_waits_for_a_guard_has_a_limit(monkeypatch: pytest.MonkeyPatch, play: Callable[[str], Played]) -> None:
    monkeypatch.setattr(guard_link, "BACKLOG_BYTES_MAX", 10_000)
    played = play("read go < gate")
    tell_all(played.link)
    assert (played.link.pid, len(played.link._backlog)) == (0, 0)
    assert played.died.wait(60)


def test_a_guard_is_heard_beyond_the_first_thousand_descriptors(play: Callable[[str], Played]) -> None:
    """256 runs have more. select(2) knows 1,024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 1_200:
        pytest.skip("this system allows no more than that")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 1_200), hard))
    first = os.open(os.devnull, os.O_RDONLY)
    taken = [first]
    try:
        while taken[-1] < 1_050:
            taken.append(os.dup(first))
        script = 'echo \'{"type":"ready"}\'; echo \'{"type":"killed","run_id":"r1"}\'; exec cat > said'
        played = play(script)
        assert eventually(lambda: played.link.has_killed("r1"), what="its word")
        assert eventually(played.heard, what="the key") == [("hello", "")]
        assert not played.died.is_set()
    finally:
        for fd in taken:
            os.close(fd)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
