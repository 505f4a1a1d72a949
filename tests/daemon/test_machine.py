"""The real performer: a run is forgotten when nothing of it lives, and not before."""

from __future__ import annotations

import errno
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest

from tests.daemon.test_caffeinate import Mac
from tests.waiting import eventually
from tests.worker.trees import SLEEP, fresh, living
from understudy.clock import Clock, ManualClock, SystemClock
from understudy.daemon import survivors
from understudy.daemon.caffeinate import Awake
from understudy.daemon.directive_file import DirectiveFile
from understudy.daemon.home import Home
from understudy.daemon.machine import Machine
from understudy.log import Log
from understudy.runtime.machine import children
from understudy.runtime.machine.drive import Driver
from understudy.worker import process_tree
from understudy.worker.effects import AwaitRun, Failed, Install, Probe, Spawn, Spawned, StopRun
from understudy.worker.executors import Ended, PlainReading, Plan
from understudy.worker.state import Signals

UNUSED: Any = None


def machine_in(home: Home, awake: Awake | None = None, clock: Clock | None = None) -> Machine:
    clock = clock or SystemClock()
    return Machine(Driver(Signals(), clock), clock, Log(clock), UNUSED, UNUSED, home, UNUSED, awake or Awake(()))


def awaited(machine: Machine, run_id: str) -> Ended:
    while not isinstance(news := machine.perform(AwaitRun(run_id, timeout_ms=10_000)), Ended):
        assert news is not None
    return news


def spawned(machine: Machine, run_id: str, code: str) -> Spawned:
    env = {"PATH": os.environ["PATH"], "UNDERSTUDY_RUN_ID": run_id}
    started = machine.perform(
        Spawn(run_id, Plan(argv=(sys.executable, "-c", code), env=env, stdin=b""), PlainReading())
    )
    assert isinstance(started, Spawned)
    return started


def test_run_that_was_ended_is_forgotten(tmp_path: Path) -> None:
    home, run_id = Home(tmp_path, "mini"), fresh("m")
    machine = machine_in(home)
    root = spawned(machine, run_id, SLEEP)
    assert machine.perform(StopRun(run_id, grace_ms=0)).survivors == 0
    assert machine.perform(StopRun(run_id, grace_ms=0)) is None
    assert (living([root.pid]), list(home.markers.iterdir())) == ([], [])


def test_run_that_survived_its_end_can_be_ended_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(children, "END_S", 0.1)
    home, run_id = Home(tmp_path, "mini"), fresh("m")
    machine = machine_in(home)
    root = spawned(machine, run_id, SLEEP)
    with monkeypatch.context() as patch:
        patch.setattr(process_tree, "_send", lambda *_: None)
        assert machine.perform(StopRun(run_id, grace_ms=0)).survivors == 1
    assert [path.name for path in home.markers.iterdir()] == [run_id]
    assert machine.perform(StopRun(run_id, grace_ms=0)).survivors == 0
    assert (living([root.pid]), list(home.markers.iterdir())) == ([], [])


def test_what_a_run_that_ended_well_left_unkillable_is_killed_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(children, "DRAIN_S", 0.1)
    home, run_id = Home(tmp_path, "mini"), fresh("m")
    machine = machine_in(home)
    code = f"import subprocess, sys; print(subprocess.Popen([sys.executable, '-c', {SLEEP!r}]).pid)"
    with monkeypatch.context() as patch:
        patch.setattr(process_tree, "_send", lambda *_: None)
        spawned(machine, run_id, code)
        ended = awaited(machine, run_id)
    assert (ended.code, ended.survivors) == (0, 1)
    machine.end_children()
    assert living([int(ended.stdout)]) == []


def test_what_survived_its_run_keeps_nothing_awake_and_is_killed_again_when_the_next_run_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may have come to itself by then: without its output, which is large, and with its marker."""
    monkeypatch.setattr(children, "DRAIN_S", 0.1)
    monkeypatch.setattr(survivors, "EVERY_MS", 0)
    home, first, second, mac = Home(tmp_path, "mini"), fresh("m"), fresh("m"), Mac()
    machine = machine_in(home, Awake(("caffeinate",), mac.start))
    code = f"import subprocess, sys; print(subprocess.Popen([sys.executable, '-c', {SLEEP!r}]).pid)"
    with monkeypatch.context() as patch:
        patch.setattr(process_tree, "_send", lambda *_: None)
        spawned(machine, first, code)
        assert mac.held() == 1
        left = int(awaited(machine, first).stdout)
    assert (mac.held(), machine._children, living([left])) == (0, {}, [left])
    assert [path.name for path in home.markers.iterdir()] == [first]
    spawned(machine, second, "print('next')")
    assert awaited(machine, second).survivors == 0
    eventually(lambda: not living([left]), what="the end of what was left")
    spawned(machine, second, "print('once more')")
    awaited(machine, second)
    assert (machine._left._trees, list(home.markers.iterdir())) == ({}, [])


class Unkillable:
    """The tree of a run of which something lives."""

    meanwhile: Callable[[], object] = staticmethod(lambda: None)

    def kill_again(self, *_: object) -> int:
        self.meanwhile()
        return 1

    def let_go(self) -> None:
        pass


def test_of_many_runs_that_left_something_none_counts_as_dead_and_one_look_a_minute_is_for_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[int] = []

    def processes() -> dict[int, Any]:
        looks.append(1)
        return {}

    monkeypatch.setattr(survivors, "processes", processes)
    clock, tree = ManualClock(), Unkillable()
    machine = machine_in(Home(tmp_path, "mini"), clock=clock)
    for nth in range(300):
        machine._put_away(f"r{nth}", cast("Any", tree), 1)
    assert len(looks) == 1
    clock.advance(survivors.EVERY_MS)
    machine._put_away("r0", cast("Any", tree), 1)
    assert len(looks) == 2
    for nth in range(300):
        assert machine.perform(StopRun(f"r{nth}", grace_ms=0)).survivors == 1


def test_what_survived_a_first_start_does_not_kill_the_second_of_the_same_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It dies, another run ends and walks over what is left, and meanwhile this one is found dead and started again."""
    monkeypatch.setattr(children, "END_S", 0.1)
    monkeypatch.setattr(survivors, "EVERY_MS", 0)
    home, run_id = Home(tmp_path, "mini"), fresh("m")
    machine, walked = machine_in(home), Unkillable()
    machine._put_away("walked over before", cast("Any", walked), 1)
    first = spawned(machine, run_id, SLEEP)
    with monkeypatch.context() as patch:
        patch.setattr(process_tree, "_send", lambda *_: None)
        assert machine.perform(StopRun(run_id, grace_ms=0)).survivors == 1
    os.kill(first.pid, signal.SIGKILL)
    eventually(lambda: not living([first.pid]), what="the end of the first start")
    second: list[Spawned] = []

    def start_again() -> None:
        if not second:
            assert machine.perform(StopRun(run_id, grace_ms=0)).survivors == 0
            second.append(spawned(machine, run_id, SLEEP))

    walked.meanwhile = start_again
    killed: list[int] = []
    with monkeypatch.context() as patch:
        patch.setattr(process_tree, "_send", lambda process, _: killed.append(process.pid))
        machine._put_away("another run", process_tree.ProcessTree("another run", SystemClock()), 0)
    left = [path.name for path in home.markers.iterdir()]
    machine._children[run_id].end(0)
    assert (len(second), killed, left) == (1, [], [run_id])


def test_leftover_that_cannot_be_killed_is_left_to_the_next_life(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, run_id = Home(tmp_path, "mini"), fresh("m")
    root = spawned(machine_in(home), run_id, SLEEP)
    with monkeypatch.context() as patch:
        patch.setattr(process_tree, "_send", lambda *_: None)
        assert machine_in(home).end_leftovers() == 1
    assert [path.name for path in home.markers.iterdir()] == [run_id]
    assert machine_in(home).end_leftovers() == 1
    assert (living([root.pid]), list(home.markers.iterdir())) == ([], [])


def probed(home: Home, code: str, timeout_ms: int = 10_000) -> Ended | Failed:
    plan = Plan(argv=(sys.executable, "-c", code), env={"PATH": os.environ["PATH"]})
    return machine_in(home).perform(Probe(plan, timeout_ms))


def test_a_probe_is_run_to_its_end_and_leaves_nothing(tmp_path: Path) -> None:
    home = Home(tmp_path, "mini")
    ended = probed(home, "import sys; print('in'); sys.exit(1)")
    assert isinstance(ended, Ended)
    assert (ended.code, ended.stdout) == (1, b"in\n")
    assert list(home.markers.iterdir()) == []


def test_a_probe_that_hangs_is_ended(tmp_path: Path) -> None:
    home = Home(tmp_path, "mini")
    hung = probed(home, SLEEP, timeout_ms=300)
    assert isinstance(hung, Failed)
    assert "no answer within 300 ms" in hung.reason
    assert list(home.markers.iterdir()) == []


def test_a_probe_ends_with_its_daemon(tmp_path: Path) -> None:
    """It has no guard: whoever hung while a login was looked at would live on until the next start."""
    home = Home(tmp_path, "mini")
    machine, answers = machine_in(home), []
    plan = Plan(argv=(sys.executable, "-c", SLEEP), env={"PATH": os.environ["PATH"]})
    thread = threading.Thread(target=lambda: answers.append(machine.perform(Probe(plan, 60_000))))
    thread.start()
    eventually(lambda: machine._children)
    machine.end_children()
    thread.join(60)
    assert [type(answer) for answer in answers] == [Ended]
    assert (machine._children, list(home.markers.iterdir())) == ({}, [])


def test_no_probe_is_begun_that_nobody_would_end(tmp_path: Path) -> None:
    """Its loop was about to look when the daemon ended."""
    home = Home(tmp_path, "mini")
    machine = machine_in(home)
    machine.end_children()
    answer = machine.perform(Probe(Plan(argv=(sys.executable, "-c", SLEEP), env=dict(os.environ)), 500))
    assert not (isinstance(answer, Failed) and "no answer" in answer.reason), answer
    assert (machine._children, list(home.markers.iterdir())) == ({}, [])


def test_a_probe_that_cannot_be_started_says_so(tmp_path: Path) -> None:
    answer = machine_in(Home(tmp_path, "mini")).perform(Probe(Plan(argv=("/no/such",), env={}), 100))
    assert isinstance(answer, Failed)


def test_without_a_thread_nothing_is_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """ "can't start new thread" is known before there is a process that could do half of a task."""
    home, proof = Home(tmp_path, "mini"), tmp_path / "it ran"
    machine = machine_in(home)
    started: list[str] = []
    start = threading.Thread.start

    def scarce(thread: threading.Thread) -> None:
        started.append(thread.name)
        if len(started) == 4:
            raise RuntimeError("can't start new thread")
        start(thread)

    env = {"PATH": os.environ["PATH"]}
    plan = Plan(argv=("/bin/sh", "-c", 'echo yes > "$1"', "sh", str(proof)), env=env)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", scarce)
        failed = machine.perform(Spawn(fresh("m"), plan, PlainReading()))
    assert isinstance(failed, Failed)
    assert failed.word == "no_processes"
    assert (proof.exists(), list(home.markers.iterdir()), len(started)) == (False, [], 4)


def test_leftovers_that_cannot_be_looked_at_are_no_reason_not_to_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = Home(tmp_path, "mini")
    machine = machine_in(home)
    for name in (fresh("probe"), fresh("probe")):
        (home.markers / name).write_bytes(b"\xff")
    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", refused)
        assert machine.end_leftovers() == 0
        patch.setattr(Path, "iterdir", refused)
        assert machine.end_leftovers() == 0


def test_leftovers_that_this_machine_cannot_look_at_are_left_to_the_next_life(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, run_id = Home(tmp_path, "mini"), fresh("m")
    (home.markers / run_id).write_bytes(b"t1")
    with monkeypatch.context() as patch:
        patch.setattr(process_tree, "_looking", refused)
        patch.setattr(process_tree, "_LACKS", {errno.EROFS})
        patch.setattr(process_tree.ProcessTree, "kill", lambda *_, **__: 1)
        assert machine_in(home).end_leftovers() == 1
    assert [path.name for path in home.markers.iterdir()] == [run_id]


def test_a_child_that_cannot_be_told_from_others_is_not_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, run_id = Home(tmp_path, "mini"), fresh("m")
    monkeypatch.setattr(children, "birth_of", refused)
    plan = Plan(argv=(sys.executable, "-c", SLEEP), env={"PATH": os.environ["PATH"], "UNDERSTUDY_RUN_ID": run_id})
    failed = machine_in(home).perform(Spawn(run_id, plan, PlainReading()))
    assert isinstance(failed, Failed)
    assert failed.word == "cannot_start"
    assert (process_tree.ProcessTree(run_id, SystemClock()).alive(), list(home.markers.iterdir())) == ([], [])


def test_an_update_that_cannot_start_a_process_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = Home(tmp_path, "mini")
    directives = DirectiveFile(home, "boot")
    monkeypatch.setattr(directives.installation, "install", refused)
    clock = SystemClock()
    machine = Machine(Driver(Signals(), clock), clock, Log(clock), UNUSED, UNUSED, home, directives, Awake(()))
    assert machine.perform(Install(UNUSED, 1_000)) == Failed("[Errno 30] Read-only file system")


def refused(*_: object, **__: object) -> None:
    raise OSError(errno.EROFS, "Read-only file system")
