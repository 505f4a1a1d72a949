"""A whole daemon as real processes: killed, stopped, drained, cut off."""

from __future__ import annotations

import itertools
import os
import re
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.daemon.fake_hub import KEY, FakeHub
from tests.daemon.live import LiveDaemon
from tests.daemon.live import living as daemon_living
from tests.waiting import allowed_s, eventually
from tests.worker.trees import IGNORES_TERM, SLEEP, living, pids_in, stubborn
from understudy.clock import SystemClock
from understudy.daemon.home import Home
from understudy.daemon.planned_stop import announce

MIB = 1 << 20
ENV_SHOWN = "import os, json; print(json.dumps(dict(os.environ)))"


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    hub = FakeHub()
    yield hub
    hub.close()


def python(code: str) -> tuple[str, ...]:
    return (sys.executable, "-c", code)


def running(hub: FakeHub, daemon: LiveDaemon, task_id: str = "t1", **task: Any) -> None:
    """Until the daemon has started the task and named its token."""
    hub.submit(task_id, **task)
    eventually(lambda: any(run["taskId"] == task_id for beat in hub.beats() for run in beat["running"]))
    eventually(lambda: f"Started {task_id}" in daemon.log)


def test_prompt_comes_back_byte_for_byte(hub: FakeHub, tmp_path: Path) -> None:
    prompt = "line\r\n\ttab \\ 'quote' \x00 質問 -- --flag\n" * 2_000
    with daemon_living(hub.url, tmp_path, "cat") as daemon:
        hub.submit("t1", prompt)
        eventually(lambda: "t1" in hub.results)
        assert hub.results["t1"]["output"] == prompt
        assert daemon.stop() == 0


def test_a_planned_stop_that_meets_a_start_is_announced_to_the_hub_and_once(hub: FakeHub, tmp_path: Path) -> None:
    """The service manager has a pid as soon as the process begins, long before it heeds signals."""
    home = Home(tmp_path, "mini")
    announce(home, 7_200_000, SystemClock().now_ms())
    with daemon_living(hub.url, tmp_path, "cat") as daemon:
        eventually(hub.beats)
        assert daemon.stop() == 0
    assert hub.beats()[-1]["plannedForSec"] == 7200
    with daemon_living(hub.url, tmp_path, "cat") as daemon:
        before = len(hub.beats())
        eventually(lambda: len(hub.beats()) > before)
        assert daemon.stop() == 0
    assert (hub.beats()[-1]["state"], "plannedForSec" in hub.beats()[-1]) == ("stopping", False)


def test_killed_daemon_takes_its_tree_along_and_leaves_a_last_will(hub: FakeHub, tmp_path: Path) -> None:
    """Issue 2, it must show 3: gone within 1 s, and the task is free for the next."""
    with daemon_living(hub.url, tmp_path, *stubborn(tmp_path / "pids")) as daemon:
        running(hub, daemon)
        pids, guard = pids_in(tmp_path / "pids"), daemon.guard_pid()
        began = time.monotonic()
        daemon.kill()
        eventually(lambda: not living(pids), within_s=1.0)
        (will,) = eventually(lambda: hub.reported("/t1/release"), within_s=2.0)
        assert time.monotonic() - began < allowed_s(2.0)
        assert (will["reason"], will["workerId"]) == ("daemon_gone", "mini")
        eventually(lambda: not psutil.pid_exists(guard), within_s=3.0)


def test_stopped_daemon_cannot_keep_a_requeue_run_beyond_its_lease(hub: FakeHub, tmp_path: Path) -> None:
    hub.lease_s, hub.next_s, hub.on_loss = 4.0, 1.0, "requeue"
    with daemon_living(hub.url, tmp_path, *stubborn(tmp_path / "pids"), heartbeat_interval_ms=1_000) as daemon:
        running(hub, daemon)
        pids = pids_in(tmp_path / "pids")
        daemon.process.send_signal(signal.SIGSTOP)
        last_beat_s = hub.seen[-1].at_s
        eventually(lambda: not living(pids), within_s=hub.lease_s)
        assert time.monotonic() - last_beat_s < allowed_s(hub.lease_s)
        daemon.process.send_signal(signal.SIGCONT)
        eventually(lambda: "t1" in daemon.log and "no longer ours" in daemon.log)
        assert hub.results == {}, "a run killed for its lease is no failure of the task"


def test_stopped_daemon_keeps_its_named_wait_run(hub: FakeHub, tmp_path: Path) -> None:
    hub.lease_s = 2.0
    with daemon_living(hub.url, tmp_path, *python("import time; time.sleep(3.5); print('kept')")) as daemon:
        running(hub, daemon)
        eventually(lambda: len([b for b in hub.beats() if b["running"]]) >= 2)
        daemon.process.send_signal(signal.SIGSTOP)
        time.sleep(3.0)  # the passing of the lease is what is tested
        daemon.process.send_signal(signal.SIGCONT)
        assert eventually(lambda: hub.results.get("t1"))["output"] == "kept\n"


def test_killed_guard_is_replaced_and_the_new_one_guards_the_same_run(hub: FakeHub, tmp_path: Path) -> None:
    with daemon_living(hub.url, tmp_path, *python(SLEEP)) as daemon:
        running(hub, daemon)
        first = daemon.guard_pid()
        os.kill(first, signal.SIGKILL)
        eventually(lambda: daemon.guard_pid() not in (0, first))
        (run,) = _runs_of(daemon)
        eventually(lambda: _ignores_sigterm(daemon.guard_pid()))
        time.sleep(0.3)  # the new guard is hidden, is told the key and reads its pipe
        daemon.kill()
        eventually(lambda: not living([run]), within_s=1.5)
        assert eventually(lambda: hub.reported("/t1/release"))[0]["reason"] == "daemon_gone"


def _ignores_sigterm(pid: int) -> bool:
    """As a guard does once it runs; where nobody can tell, it is taken for granted."""
    if not Path("/proc/self/status").exists():
        return True
    mask = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("SigIgn"))
    return bool(int(mask.split()[1], 16) & 1 << (signal.SIGTERM - 1))


def test_daemon_and_guard_killed_together_the_next_start_ends_what_was_left(hub: FakeHub, tmp_path: Path) -> None:
    with daemon_living(hub.url, tmp_path, *stubborn(tmp_path / "pids")) as daemon:
        running(hub, daemon)
        pids = pids_in(tmp_path / "pids")
        os.kill(daemon.guard_pid(), signal.SIGKILL)
        daemon.kill()
    assert living(pids)
    seen = []
    hub.fault = lambda path, _: seen.append(living(pids)) if path.endswith("heartbeat") else None
    with daemon_living(hub.url, tmp_path, "cat") as daemon:
        eventually(lambda: bool(seen))
        assert seen[0] == [], "dead before the first beat"
        assert "Killed a run of an earlier life task=t1" in daemon.log


def test_each_start_is_a_new_boot_of_the_same_machine(hub: FakeHub, tmp_path: Path) -> None:
    for starts in (1, 2):
        with daemon_living(hub.url, tmp_path, "cat") as daemon:  # says goodbye only once its first beat was answered
            eventually(lambda daemon=daemon, starts=starts: daemon.log.count("Registered") == starts)
            assert daemon.stop() == 0
    first, last = hub.beats()[0], hub.beats()[-1]
    assert first["bootId"] != last["bootId"]
    assert first["machineId"] == last["machineId"]
    assert (first["seq"], first["state"], last["state"]) == (1, "running", "stopping")


def test_second_start_of_the_same_name_is_refused(hub: FakeHub, tmp_path: Path) -> None:
    with daemon_living(hub.url, tmp_path, "cat") as first:
        eventually(lambda: "Boot " in first.log)
        with daemon_living(hub.url, tmp_path, "cat") as second:
            assert second.process.wait(60) != 0
        assert "already running here" in second.log
        assert first.process.poll() is None


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_drain_gives_back_what_it_cannot_finish_and_leaves_no_process(
    hub: FakeHub, tmp_path: Path, number: signal.Signals
) -> None:
    with daemon_living(hub.url, tmp_path, *python(SLEEP), drain_ms=300) as daemon:
        running(hub, daemon)
        guard, runs = daemon.guard_pid(), _runs_of(daemon)
        began = time.monotonic()
        daemon.process.send_signal(number)
        assert daemon.process.wait(60) == 0
        assert time.monotonic() - began < allowed_s(3.0)
        assert [body["reason"] for body in hub.reported("/t1/release")] == ["drain"]
        assert (hub.beats()[-1]["state"], hub.beats()[-1]["running"]) == ("stopping", [])
        assert not psutil.pid_exists(guard)
        assert runs
        assert living(runs) == []


def test_idle_daemon_stops_at_once(hub: FakeHub, tmp_path: Path) -> None:
    with daemon_living(hub.url, tmp_path, "cat") as daemon:
        eventually(lambda: hub.reported("/claim"))
        began = time.monotonic()
        assert daemon.stop() == 0
        assert time.monotonic() - began < allowed_s(1.5)


def test_second_signal_does_not_wait_for_polite_programs(hub: FakeHub, tmp_path: Path) -> None:
    with daemon_living(hub.url, tmp_path, *python(IGNORES_TERM + SLEEP)) as daemon:
        running(hub, daemon)
        daemon.process.terminate()
        eventually(lambda: "Draining" in daemon.log)
        began = time.monotonic()
        daemon.process.terminate()
        assert daemon.process.wait(60) == 0
        assert time.monotonic() - began < allowed_s(2.5)


def test_a_run_that_dies_with_its_machine_is_a_loss(hub: FakeHub, tmp_path: Path) -> None:
    """A system that stops sends TERM to every process; the daemon may hear of it last."""
    with daemon_living(hub.url, tmp_path, *python(SLEEP)) as daemon:
        running(hub, daemon)
        for pid in _runs_of(daemon):
            os.kill(pid, signal.SIGTERM)
        assert daemon.stop() == 0
        assert [body["reason"] for body in hub.reported("/t1/release")] == ["daemon_gone"]
        assert hub.results == {}


def test_result_is_spooled_while_the_hub_is_away_and_delivered_once_it_is_back(hub: FakeHub, tmp_path: Path) -> None:
    with daemon_living(hub.url, tmp_path, *python("import sys; sys.stdin.read(); print('kept')")) as daemon:
        gate = tmp_path / "gate"
        hub.fault = lambda path, _: "drop" if path.endswith("/results") or gate.exists() else None
        hub.submit("t1")
        spool = tmp_path / "daemons" / "mini" / "spool"
        eventually(lambda: list(spool.glob("*.json")))
        gate.touch()
        daemon.kill()  # the result outlives the daemon
        assert hub.results == {}
    first_boot = hub.beats()[-1]["bootId"]
    hub.fault = lambda *_: None
    with daemon_living(hub.url, tmp_path, "cat") as daemon:
        assert eventually(lambda: hub.results.get("t1"))["output"] == "kept\n"
        eventually(lambda: not list(spool.glob("*.json")))
        eventually(lambda: hub.beats()[-1]["bootId"] != first_boot, what="a beat of the second life")
        paths = [seen.path for seen in hub.seen]
        assert daemon.stop() == 0
    last_boot = hub.beats()[-1]["bootId"]
    first_beat = next(i for i, seen in enumerate(hub.seen) if seen.body.get("bootId") == last_boot)
    assert "/api/results" in paths[:first_beat]


def test_answer_that_is_lost_repeats_the_result_and_changes_nothing(hub: FakeHub, tmp_path: Path) -> None:
    faults = iter(["cut", "cut"])
    hub.fault = lambda path, _: next(faults, None) if path == "/api/results" else None
    with daemon_living(hub.url, tmp_path, "cat") as daemon:
        hub.submit("t1", "x")
        eventually(lambda: len(hub.reported("/api/results")) == 3)
        eventually(lambda: "Delivered t1" in daemon.log)
        tokens = [entry["token"] for body in hub.reported("/api/results") for entry in body["results"]]
        assert len(set(tokens)) == 1


def test_cancel_ends_the_tree_and_is_confirmed(hub: FakeHub, tmp_path: Path) -> None:
    hub.next_s = 0.2
    with daemon_living(hub.url, tmp_path, *python(SLEEP), heartbeat_interval_ms=200) as daemon:
        running(hub, daemon)
        (run,) = _runs_of(daemon)
        hub.cancel.add("t1")
        eventually(lambda: not living([run]), within_s=5.0)
        assert eventually(lambda: hub.results.get("t1"))["failure"]["class"] == "cancelled"


def test_lost_run_is_killed_without_grace(hub: FakeHub, tmp_path: Path) -> None:
    hub.next_s = 0.2
    with daemon_living(hub.url, tmp_path, *stubborn(tmp_path / "pids"), heartbeat_interval_ms=200) as daemon:
        running(hub, daemon)
        pids = pids_in(tmp_path / "pids")
        hub.lost.add("t1")
        eventually(lambda: not living(pids), within_s=4.0)
        eventually(lambda: list((tmp_path / "daemons/mini/evidence").glob("*.json")))
        assert hub.results == {}


def test_time_limit_takes_the_whole_tree(hub: FakeHub, tmp_path: Path) -> None:
    with daemon_living(hub.url, tmp_path, *python(SLEEP)):
        hub.submit("t1", timeoutSec=1)
        assert eventually(lambda: hub.results.get("t1"))["failure"]["class"] == "timed_out"


def test_daemon_with_a_taken_name_kills_its_runs_and_stays_idle(hub: FakeHub, tmp_path: Path) -> None:
    hub.next_s = 0.2
    with daemon_living(hub.url, tmp_path, *python(SLEEP), heartbeat_interval_ms=200) as daemon:
        running(hub, daemon)
        (run,) = _runs_of(daemon)
        hub.fault = lambda *_: (409, {"error": "x", "code": "superseded"})
        eventually(lambda: not living([run]), within_s=5.0)
        eventually(lambda: "was started after this one" in daemon.log)
        beats = len(hub.beats())
        time.sleep(1.0)  # silence is what is tested
        assert len(hub.beats()) == beats
        assert daemon.process.poll() is None
        assert daemon.stop() == 0


def test_command_that_vanished_gives_its_task_back_and_claims_no_more(hub: FakeHub, tmp_path: Path) -> None:
    tool = tmp_path / "tool"
    tool.write_text("#!/bin/sh\n")
    tool.chmod(0o700)
    with daemon_living(hub.url, tmp_path, str(tool)):
        eventually(hub.beats)
        tool.unlink()
        hub.submit("t1")
        told = eventually(lambda: hub.reported("/t1/release"))
        assert [body["reason"] for body in told] == ["not_started"]
        assert "t1" not in hub.results
        eventually(lambda: hub.beats()[-1].get("auth") == {"command": "missing"})


def test_missing_command_refuses_to_start(hub: FakeHub, tmp_path: Path) -> None:
    with daemon_living(hub.url, tmp_path, "no-such-command") as daemon:
        assert daemon.process.wait(60) != 0
        assert "'no-such-command' was not found" in daemon.log
        assert hub.seen == []


def test_run_sees_no_key_and_carries_its_markers(hub: FakeHub, tmp_path: Path) -> None:
    env = {"UNDERSTUDY_API_KEY": KEY, "SLACK_BOT_TOKEN": "xoxb-secret", "MY_TOOL": "yes"}
    with daemon_living(hub.url, tmp_path, *python(ENV_SHOWN), env=env, task_env_pass=("MY_TOOL",)):
        hub.submit("t1")
        output = eventually(lambda: hub.results.get("t1"))["output"]
    assert KEY not in output
    assert "xoxb" not in output
    assert '"UNDERSTUDY_TASK_ID": "t1"' in output
    assert '"UNDERSTUDY_RUN_ID": ' in output
    assert '"MY_TOOL": "yes"' in output


def test_diagnostic_needs_no_command(hub: FakeHub, tmp_path: Path) -> None:
    with daemon_living(hub.url, tmp_path) as daemon:
        hub.submit("t1", "hello?")
        assert "received: hello?" in eventually(lambda: hub.results.get("t1"))["output"]
        assert hub.reported("/claim")[0]["onLoss"] == "requeue"
        assert hub.reported("/claim")[0]["provides"] == ["machine", "executor:diagnostic"]
        assert daemon.stop() == 0


def test_log_keeps_the_lines_that_people_grep_for_and_no_key(hub: FakeHub, tmp_path: Path) -> None:
    with daemon_living(hub.url, tmp_path, *python(SLEEP), log_level="info", drain_ms=100) as daemon:
        eventually(lambda: "[Heartbeat] Waiting" in daemon.log)
        running(hub, daemon)
        daemon.stop()
    lines = daemon.log.splitlines()
    assert "ClaimTask API + Lease Management" in lines[1]
    assert len({len(lines[0]), len(lines[2])}) == 1
    stamp = r"^\[\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z\] \[INFO\] "
    for expected in (
        r"\[Startup\] ",
        r"\[Config\] ",
        r"\[Daemon\] Poll loop started$",
        r"\[Heartbeat\] Sent successfully$",
        r"\[Heartbeat\] Waiting$",
    ):
        assert any(re.search(stamp + expected, line) for line in lines), expected
    assert KEY not in daemon.log


def test_processing_is_said_with_the_task(hub: FakeHub, tmp_path: Path) -> None:
    with daemon_living(hub.url, tmp_path, *python(SLEEP)) as daemon:
        running(hub, daemon)
        eventually(lambda: "[Heartbeat] Processing: t1" in daemon.log)


def test_idle_daemon_is_small(hub: FakeHub, tmp_path: Path) -> None:
    """At most 50 MiB; the guard beside it is counted for itself."""
    with daemon_living(hub.url, tmp_path, "cat") as daemon:
        hub.submit("t1", "x")
        eventually(lambda: "t1" in hub.results)
        assert psutil.Process(daemon.process.pid).memory_info().rss < 50 * MIB
        assert psutil.Process(daemon.guard_pid()).memory_info().rss < 25 * MIB


def test_beats_go_on_while_every_core_is_busy_with_a_run(hub: FakeHub, tmp_path: Path) -> None:
    """The jitter of heartbeats stays below 2 s (docs/measured.md, Process trees)."""
    burn = "import os\n" + "for _ in range(3): os.fork()\n" + "while True: pass"
    hub.next_s = 0.5
    with daemon_living(hub.url, tmp_path, *python(burn), heartbeat_interval_ms=500, drain_ms=0) as daemon:
        running(hub, daemon)
        began = time.monotonic()
        eventually(lambda: time.monotonic() - began > 4)
        times = [seen.at_s for seen in hub.seen if seen.path.endswith("/heartbeat") and seen.at_s > began]
        assert len(times) >= 4
        assert max(later - earlier for earlier, later in itertools.pairwise(times)) < allowed_s(2.0)
        runs = _runs_of(daemon)
        daemon.stop()
    assert len(runs) == 8
    assert living(runs) == []


def _runs_of(daemon: LiveDaemon) -> list[int]:
    """Everything it has started but its guard."""
    children = psutil.Process(daemon.process.pid).children(recursive=True)
    return [child.pid for child in children if "understudy.worker.guard" not in child.cmdline()]
