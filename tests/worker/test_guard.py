"""The guard as a real process, fed as a daemon feeds it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import psutil
import pytest

from tests.daemon.fake_hub import KEY, FakeHub
from tests.daemon.raw_server import raw_server
from tests.environment import environment_seen_of
from tests.unread import unread
from tests.waiting import allowed_s, eventually
from tests.worker.trees import SLEEP, fresh, living, pids_in, start, stubborn
from understudy.clock import ManualClock, SystemClock
from understudy.log import Log
from understudy.worker import last_will, process_tree
from understudy.worker.guard import GuardProcess
from understudy.worker.guard_policy import Gone, Held, Hello, Lost, Message, Rooted, RunDone, Spawning, WatchedRun
from understudy.worker.process_tree import birth_of

MIB = 1 << 20
ENV = dict(os.environ)
RUN = [fresh(f"g{number}") for number in range(11)]


class LiveGuard:
    def __init__(self, stderr: int | None = None) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "understudy.worker.guard"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=stderr,
            start_new_session=True,
        )
        self.clock = SystemClock()

    def tell(self, *messages: Message) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(b"".join(msgspec.json.encode(m) + b"\n" for m in messages))
        self.process.stdin.flush()

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    hub = FakeHub()
    yield hub
    hub.close()


@pytest.fixture
def guard(hub: FakeHub) -> Iterator[LiveGuard]:
    guard = LiveGuard()
    guard.tell(Hello(hub.url, KEY, "mini"))
    eventually(lambda: _ignores(guard.process.pid), what="a guard at work")
    yield guard
    guard.process.kill()
    guard.process.wait()
    guard.close()


def spawning(run_id: str, guard: LiveGuard, *, in_ms: int = 60_000, on_loss: str = "requeue") -> Spawning:
    return Spawning(run_id, f"task-{run_id}", 7, on_loss, guard.clock.mono_ms() + in_ms)


def test_end_of_the_daemon_kills_the_tree_within_a_second_and_releases_the_lease(
    hub: FakeHub, guard: LiveGuard, tmp_path: Path
) -> None:
    hub.leases[f"task-{RUN[1]}"] = 7
    guard.tell(spawning(RUN[1], guard))
    root = start(stubborn(tmp_path / "pids"), RUN[1], ENV)
    guard.tell(Rooted(RUN[1], root.pid, birth_of(root.pid)))
    pids = pids_in(tmp_path / "pids")
    began = time.monotonic()
    guard.close()
    root.wait(60)
    eventually(lambda: not living(pids), within_s=1.0)
    assert time.monotonic() - began < allowed_s(1.0)
    assert guard.process.wait(60) == 0
    assert hub.reported(f"/task-{RUN[1]}/release") == [{"workerId": "mini", "token": 7, "reason": "daemon_gone"}]
    assert hub.seen[-1].at_s - began < allowed_s(1.5)


def test_tree_is_dead_before_its_lease_is_released(hub: FakeHub, guard: LiveGuard) -> None:
    guard.tell(spawning(RUN[2], guard))
    root = start((sys.executable, "-c", SLEEP), RUN[2], ENV)
    alive_at_release = []
    hub.fault = lambda *_: alive_at_release.extend(living([root.pid]))
    guard.close()
    guard.process.wait(60)
    root.wait(60)
    assert hub.reported(f"/task-{RUN[2]}/release")
    assert alive_at_release == []


def test_lease_deadline_kills_without_a_word_from_the_daemon(guard: LiveGuard) -> None:
    began = time.monotonic()
    guard.tell(spawning(RUN[3], guard, in_ms=400))
    root = start((sys.executable, "-c", SLEEP), RUN[3], ENV)
    guard.tell(Rooted(RUN[3], root.pid, birth_of(root.pid)))
    assert root.wait(60) == -signal.SIGKILL
    assert 0.4 <= time.monotonic() - began < allowed_s(1.0)


def test_renewed_run_outlives_its_first_deadline(guard: LiveGuard) -> None:
    began = time.monotonic()
    guard.tell(spawning(RUN[4], guard, in_ms=1_500))
    root = start((sys.executable, "-c", SLEEP), RUN[4], ENV)
    guard.tell(Rooted(RUN[4], root.pid, birth_of(root.pid)), Held(RUN[4], guard.clock.mono_ms() + 2_000))
    assert root.wait(60) == -signal.SIGKILL
    assert 2.0 <= time.monotonic() - began < allowed_s(3.0)


def test_lost_run_is_killed_and_not_released(hub: FakeHub, guard: LiveGuard) -> None:
    guard.tell(spawning(RUN[5], guard, on_loss="wait"))
    root = start((sys.executable, "-c", SLEEP), RUN[5], ENV)
    guard.tell(Lost(RUN[5]))
    assert root.wait(60) == -signal.SIGKILL
    guard.close()
    guard.process.wait(60)
    assert hub.reported("/release") == []


def test_process_born_while_its_daemon_died_is_found_by_its_marker(guard: LiveGuard) -> None:
    guard.tell(spawning(RUN[6], guard))
    guard.close()
    root = start((sys.executable, "-c", SLEEP), RUN[6], ENV)
    assert root.wait(60) == -signal.SIGKILL
    guard.process.wait(60)


def test_finished_run_is_neither_killed_nor_released(hub: FakeHub, guard: LiveGuard) -> None:
    guard.tell(spawning(RUN[7], guard))
    root = start((sys.executable, "-c", SLEEP), RUN[7], ENV)
    guard.tell(RunDone(RUN[7]))
    guard.close()
    assert guard.process.wait(60) == 0
    assert root.poll() is None
    root.kill()
    root.wait()
    assert hub.reported("/release") == []


def test_last_will_is_repeated_when_the_hub_fails_and_given_up_in_the_end(hub: FakeHub, guard: LiveGuard) -> None:
    hub.fault = lambda *_: "drop"
    guard.tell(spawning(RUN[8], guard))
    guard.close()
    assert guard.process.wait(60) == 0
    assert 2 <= len(hub.reported("/release")) <= 4


def test_signals_of_the_terminal_do_not_end_the_guard(guard: LiveGuard) -> None:
    guard.tell(spawning(RUN[9], guard))
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        guard.process.send_signal(number)
    guard.tell(RunDone(RUN[9]))
    assert guard.process.poll() is None
    guard.close()
    assert guard.process.wait(60) == 0


def _ignores(pid: int) -> bool:
    mask = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("SigIgn"))
    return bool(int(mask.split()[1], 16) & (1 << (signal.SIGTERM - 1)))


def test_guard_is_small_and_knows_no_http_before_its_last_will(guard: LiveGuard) -> None:
    guard.tell(spawning(RUN[10], guard))
    process = psutil.Process(guard.process.pid)
    assert process.memory_info().rss < 25 * MIB
    code = (
        "import sys, understudy.worker.guard; print([m for m in ('ssl', 'http.client', 'urllib3') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_key_is_in_neither_arguments_nor_environment_of_the_guard(guard: LiveGuard) -> None:
    process = psutil.Process(guard.process.pid)
    assert KEY not in " ".join(process.cmdline())
    assert KEY not in str(environment_seen_of(process))


@pytest.mark.parametrize("answer", [(404, {"message": "no such app"}), (403, {"error": "Forbidden"}), (302, {})])
def test_last_will_is_repeated_when_somebody_else_answers_for_the_hub(
    hub: FakeHub, guard: LiveGuard, answer: tuple[int, dict[str, str]]
) -> None:
    answers = iter([answer])
    hub.fault = lambda *_: next(answers, None)
    run_id = fresh("g")
    guard.tell(spawning(run_id, guard))
    guard.close()
    assert guard.process.wait(60) == 0
    assert len(hub.reported("/release")) == 2


def test_kills_and_releases_while_its_stderr_takes_nothing(hub: FakeHub) -> None:
    run_id = fresh("g")
    hub.leases[f"task-{run_id}"] = 7
    root = start((sys.executable, "-c", SLEEP), run_id, ENV)
    with unread() as pipe:
        guard = LiveGuard(pipe.end)
        try:
            guard.tell(
                Hello(hub.url, KEY, "mini"), spawning(run_id, guard), Rooted(run_id, root.pid, birth_of(root.pid))
            )
            guard.close()
            assert root.wait(60) == -signal.SIGKILL
            eventually(lambda: hub.reported("/release"), what="a last will")
            pipe.read_until(f"released task-{run_id}")
        finally:
            guard.process.kill()
            guard.process.wait()


def test_last_will_is_repeated_after_the_page_of_a_proxy() -> None:
    url, thread = raw_server(*[b"HTTP/1.1 404 Not Found\r\nContent-Length: 6\r\n\r\n<html>"] * 2)
    hello = Hello(url, KEY, "mini")
    run = WatchedRun("r", "t", 7, "requeue", 0)
    clock = ManualClock()
    assert not last_will._released(hello, run, Log(clock))
    assert not last_will._released(hello, run, Log(clock))
    thread.join(60)


def test_what_survives_the_killing_gets_no_last_will(
    hub: FakeHub, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As if the kernel held it, or it belonged to somebody else: nobody else may have its task yet."""
    monkeypatch.setattr("understudy.worker.guard.LATE_DEATH_MS", 50)
    survivor, mortal = fresh("g"), fresh("g")
    lives, dies = (start((sys.executable, "-c", SLEEP), run_id, ENV) for run_id in (survivor, mortal))
    send = process_tree._send
    monkeypatch.setattr(process_tree, "_send", lambda p, number: p.pid == lives.pid or send(p, number))
    clock = SystemClock()
    process = GuardProcess(clock, Log(clock))
    try:
        process.take(Hello(hub.url, KEY, "mini"))
        for run_id, root in ((survivor, lives), (mortal, dies)):
            process.take(Spawning(run_id, f"task-{run_id}", 7, "requeue", clock.mono_ms() + 60_000))
            process.take(Rooted(run_id, root.pid, birth_of(root.pid)))
        process.take(Gone())
    finally:
        for root in (lives, dies):
            root.kill()
            root.wait()
    assert process.is_over
    assert [seen.path for seen in hub.seen] == [f"/api/queue/task-{mortal}/release"]
    assert f"No last will for task-{survivor}" in capsys.readouterr().err


def test_what_dies_late_gets_its_last_will_late(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine a killed process may be there for seconds: its lease may be one of minutes."""
    late, prompt = fresh("g"), fresh("g")
    roots = [start((sys.executable, "-c", SLEEP), run_id, ENV) for run_id in (late, prompt)]
    send = process_tree._send
    monkeypatch.setattr(process_tree, "_send", lambda p, n: (hub.seen or p.pid != roots[0].pid) and send(p, n))
    clock = SystemClock()
    process = GuardProcess(clock, Log(clock))
    try:
        process.take(Hello(hub.url, KEY, "mini"))
        for run_id, root in zip((late, prompt), roots, strict=True):
            process.take(Spawning(run_id, f"task-{run_id}", 7, "requeue", clock.mono_ms() + 60_000))
            process.take(Rooted(run_id, root.pid, birth_of(root.pid)))
        process.take(Gone())
    finally:
        for root in roots:
            root.kill()
            root.wait()
    assert [seen.path for seen in hub.seen] == [f"/api/queue/task-{run_id}/release" for run_id in (prompt, late)]
