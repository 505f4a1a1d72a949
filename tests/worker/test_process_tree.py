"""Killing whole trees of real processes."""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from tests.waiting import allowed_s, eventually
from tests.worker.trees import IGNORES_TERM, SLEEP, fresh, living, pids_in, start, stubborn
from understudy.clock import SystemClock
from understudy.worker import process_tree
from understudy.worker.process_tree import Process, ProcessTree, birth_of, is_living

ENV = dict(os.environ)
RUN = {name: fresh(f"run-{name}") for name in "abcdefghi"}


def rooted(process: subprocess.Popen[bytes], run_id: str) -> ProcessTree:
    tree = ProcessTree(run_id, SystemClock())
    tree.root(process.pid, birth_of(process.pid))
    return tree


def test_kill_leaves_nobody_within_a_second(tmp_path: Path) -> None:
    process = start(stubborn(tmp_path / "pids"), RUN["a"], ENV)
    pids = pids_in(tmp_path / "pids")
    tree = rooted(process, RUN["a"])
    began = time.monotonic()
    assert tree.kill() == 0
    assert time.monotonic() - began < allowed_s(1.0)
    process.wait()
    assert living(pids) == []


def test_kill_ends_stopped_processes_too(tmp_path: Path) -> None:
    process = start(stubborn(tmp_path / "pids"), RUN["b"], ENV)
    pids = pids_in(tmp_path / "pids")
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    assert rooted(process, RUN["b"]).kill() == 0
    process.wait()
    assert living(pids) == []


def test_the_marker_of_a_run_is_not_that_of_one_whose_id_begins_alike(tmp_path: Path) -> None:
    run_id = fresh("run")
    process = start(stubborn(tmp_path / "pids"), f"{run_id}0", ENV)
    pids = pids_in(tmp_path / "pids")
    try:
        assert ProcessTree(run_id, SystemClock()).alive() == []
        assert set(living(pids)) == set(pids)
    finally:
        assert rooted(process, f"{run_id}0").kill() == 0
        process.wait()


def test_those_that_begin_a_program_just_now_are_found_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """For a moment after execve(2) has begun a process has no environment: at rest one in a hundred is seen so."""
    run_id = fresh("run")
    for _ in range(500):
        with start((sys.executable, "-S", "-c", SLEEP), run_id, ENV) as process:
            here = process_tree._process(process.pid)
            monkeypatch.setattr(process_tree, "processes", lambda here=here: {here.pid: here})  # looks at once
            assert [one.pid for one in ProcessTree(run_id, SystemClock()).alive()] == [process.pid]
            process.kill()


def test_one_whose_environment_comes_late_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    run_id = fresh("run")
    real, unread = process_tree._environ, [b""] * 5
    with start(("sleep", "60"), run_id, ENV) as process:
        ours = process.pid
        monkeypatch.setattr(process_tree, "_environ", lambda pid: unread.pop() if pid == ours and unread else real(pid))
        assert [one.pid for one in ProcessTree(run_id, SystemClock()).alive()] == [ours]
        process.kill()


def test_one_that_has_no_environment_for_good_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    with subprocess.Popen(("sleep", "60"), start_new_session=True, env={}) as process:
        eventually(lambda: Path(f"/proc/{process.pid}/cmdline").read_bytes().startswith(b"sleep"))
        here = process_tree._process(process.pid)
        waits: list[float] = []
        monkeypatch.setattr(process_tree, "processes", lambda: {process.pid: here})  # others may begin programs
        monkeypatch.setattr(process_tree, "time", SimpleNamespace(sleep=waits.append))
        assert ProcessTree(fresh("run"), SystemClock()).alive() == []
        process.kill()
    assert waits == []


def test_marker_finds_everybody_when_the_root_is_unknown(tmp_path: Path) -> None:
    process = start(stubborn(tmp_path / "pids"), RUN["c"], ENV)
    pids = pids_in(tmp_path / "pids")
    assert ProcessTree(RUN["c"], SystemClock()).kill() == 0
    process.wait()
    assert living(pids) == []


def test_end_asks_first_and_returns_as_soon_as_everybody_has_gone() -> None:
    process = start((sys.executable, "-c", SLEEP), RUN["d"], ENV)
    began = time.monotonic()
    assert rooted(process, RUN["d"]).end(grace_ms=5_000) == 0
    assert time.monotonic() - began < allowed_s(2.0)
    assert process.wait() == -signal.SIGTERM


def test_end_kills_what_ignores_the_asking(tmp_path: Path) -> None:
    process = start(stubborn(tmp_path / "pids"), RUN["e"], ENV)
    pids = pids_in(tmp_path / "pids")
    assert rooted(process, RUN["e"]).end(grace_ms=300) == 0
    assert process.wait() == -signal.SIGKILL
    assert living(pids) == []


def test_orphan_that_wiped_its_environment_is_found_if_it_was_noted(tmp_path: Path) -> None:
    wiped = f"import os, sys; os.setsid(); os.execve(sys.executable, [sys.executable, '-c', {SLEEP!r}], {{}})"
    code = f"""
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", {wiped!r}])
open(sys.argv[1] + ".tmp", "w").write(str(child.pid))
__import__("os").rename(sys.argv[1] + ".tmp", sys.argv[1])
time.sleep(60)
"""
    process = start((sys.executable, "-c", code, str(tmp_path / "pids")), RUN["f"], ENV)
    (orphan,) = pids_in(tmp_path / "pids")
    tree = rooted(process, RUN["f"])
    tree.note()
    process.kill()
    process.wait()
    assert living([orphan])
    assert tree.kill() == 0
    eventually(lambda: not living([orphan]))


def test_other_runs_and_strangers_are_left_alone() -> None:
    ours = start((sys.executable, "-c", SLEEP), RUN["g"], ENV)
    theirs = start((sys.executable, "-c", SLEEP), RUN["h"], ENV)
    try:
        assert rooted(ours, RUN["g"]).kill() == 0
        ours.wait()
        assert theirs.poll() is None
    finally:
        theirs.kill()
        theirs.wait()


def test_reused_pid_is_not_taken_for_the_root() -> None:
    stranger = subprocess.Popen((sys.executable, "-c", IGNORES_TERM + SLEEP), start_new_session=True)
    try:
        tree = ProcessTree(RUN["i"], SystemClock())
        tree.root(stranger.pid, birth_of(stranger.pid) - 1.0)
        assert tree.kill() == 0
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_birth_elsewhere_does_not_move_with_the_wall_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """psutil adds each step of the wall clock since its import: daemon and guard would disagree."""
    before = process_tree._process_elsewhere(os.getpid())
    now_s = psutil.Process().create_time()
    monkeypatch.setattr(psutil.Process, "create_time", lambda _: now_s + 3_600)
    assert process_tree._process_elsewhere(os.getpid()) == before
    assert before.birth > 0


def test_birth_elsewhere_is_that_of_psutil_where_it_has_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    def old(_: object) -> float:
        return 42.0

    process = psutil.Process()
    monkeypatch.setattr(type(process._proc), "create_time", old)
    monkeypatch.setattr(psutil.Process, "create_time", old)
    assert process_tree._birth_elsewhere(process) == 42.0


def test_zombie_elsewhere_is_known_though_its_session_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """macOS tells nothing of a zombie's group and session; the root as a zombie vouches for its session."""

    def refuse(pid: int) -> int:
        raise ProcessLookupError(pid)

    with subprocess.Popen((sys.executable, "-c", "")) as process:
        eventually(lambda: psutil.Process(process.pid).status() == psutil.STATUS_ZOMBIE)
        monkeypatch.setattr(os, "getsid", refuse)
        monkeypatch.setattr(os, "getpgid", refuse)
        seen = process_tree._process_elsewhere(process.pid)
    assert (seen.pid, seen.parent, seen.lives) == (process.pid, os.getpid(), False)


@pytest.mark.parametrize("pid_of", [lambda: 1, lambda: 0, lambda: -1, os.getpid, os.getppid])
def test_no_signal_goes_to_ourselves_our_parent_the_first_process_or_a_group(
    pid_of: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    pid = pid_of()
    sent: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "kill", lambda *told: sent.append(told))
    process_tree._send(process_tree.Process(pid, 0, 0, 0, birth_of(pid), lives=True), signal.SIGKILL)
    assert sent == []


def test_signal_goes_to_a_child(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[tuple[int, int]] = []
    with subprocess.Popen((sys.executable, "-c", SLEEP)) as process:
        with monkeypatch.context() as patch:
            patch.setattr(os, "kill", lambda *told: sent.append(told))
            one = process_tree.Process(process.pid, 0, 0, 0, birth_of(process.pid), lives=True)
            process_tree._send(one, signal.SIGKILL)
        process.kill()
    assert sent == [(process.pid, signal.SIGKILL)]


def cannot_look(*_: object) -> None:
    raise OSError(errno.ENFILE, "Too many open files in system")


def test_what_this_machine_cannot_look_at_is_not_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reported as dead, its task would be given back, and run twice."""
    with start((sys.executable, "-c", SLEEP), fresh("run"), ENV) as process:
        tree = rooted(process, fresh("run"))
        birth = birth_of(process.pid)
        with monkeypatch.context() as patch:
            patch.setattr(process_tree, "_looking", cannot_look)
            tree.note()
            assert (tree.kill(limit_ms=0), tree.end(grace_ms=0)) == (1, 1)
            assert is_living(process.pid, birth)
            with pytest.raises(OSError, match="in system"):
                birth_of(process.pid)
        assert tree.kill() == 0
        assert not is_living(process.pid, birth)


@contextlib.contextmanager
def no_descriptor() -> Iterator[None]:
    """Within, this process can open nothing more."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    first = os.open(os.devnull, os.O_RDONLY)
    taken = [first]
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(taken[0], highest_descriptor()) + 1, before[1]))
    try:
        with contextlib.suppress(OSError):
            while True:
                taken.append(os.open(os.devnull, os.O_RDONLY))
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
        for number in taken:
            os.close(number)


def highest_descriptor() -> int:
    return max(int(path.name) for path in Path("/dev/fd").iterdir())


def test_a_tree_is_killed_when_this_process_has_no_descriptor_left() -> None:
    with start((sys.executable, "-c", SLEEP), run_id := fresh("run"), ENV) as process:
        tree = rooted(process, run_id)
        with no_descriptor():
            with pytest.raises(OSError, match="Too many open files"):
                os.open(os.devnull, os.O_RDONLY)
            tree.note()
            assert tree.kill() == 0
        assert process.wait() == -signal.SIGKILL


def test_those_that_another_thread_sees_while_the_gone_are_forgotten_are_remembered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The end of a run looks for it while its loop still does."""
    monkeypatch.setattr(process_tree, "SEEN_MAX", 1)
    tree = ProcessTree("run", SystemClock())
    tree._seen = {900_001: 1.0, 900_002: 2.0}
    newcomers = iter([Process(900_003, 1, 1, 1, 3.0, lives=True), Process(900_004, 1, 1, 1, 4.0, lives=True)])

    def meet() -> None:
        other = threading.Thread(target=tree._remember, args=((next(newcomers),),))
        other.start()
        other.join(60)

    class Looked(dict[int, Process]):
        def __contains__(self, pid: object) -> bool:
            with contextlib.suppress(StopIteration):
                meet()
            return super().__contains__(pid)

    def processes() -> dict[int, Process]:
        meet()
        return Looked()

    monkeypatch.setattr(process_tree, "processes", processes)
    tree.note()
    assert tree._seen == {900_003: 3.0, 900_004: 4.0}
