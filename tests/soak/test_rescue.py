"""Real daemons, guards and runs: what is lost is rescued in time, what waits for its machine waits."""

from __future__ import annotations

import os
import random
import signal
import time
from contextlib import ExitStack

import pytest

from bench.figures import spread
from bench.pickup import result_of
from bench.processes import Hub
from bench.proxy import Proxy
from bench.rescue import Scene, cut_off, frozen, killed, restarted
from bench.runs import Diary, daemon, end_s, guard_of, is_alive, submit, wait_idle

LEASE_S = 6.0
TIMES = 5
RUN_S = 60


def story(hub: Hub, task_id: str) -> list[tuple[str, str]]:
    """Worker and outcome of each attempt."""
    attempts = hub.call("GET", f"/api/tasks/{task_id}")[1]["attempts"]
    return [(attempt["workerId"].split("/")[0], attempt.get("outcome", "")) for attempt in attempts]


@pytest.mark.soak
def test_a_killed_daemon_leaves_no_process_and_its_task_starts_elsewhere_within_2_s(tmp_path, report):
    measured = [killed(tmp_path / str(n), random.uniform(0.3, 8)) for n in range(TIMES)]
    started, dead = [one[0] for one in measured], [one[1] for one in measured]
    report(f"SIGKILL of the daemon: tree dead after {spread(dead)} s, body starts elsewhere after {spread(started)} s")
    assert max(dead) <= 1
    assert max(started) <= 2


@pytest.mark.soak
def test_a_restarted_daemon_frees_its_old_leases_within_1_s(tmp_path, report):
    measured = [restarted(tmp_path / str(n), random.uniform(0.3, 5)) for n in range(TIMES)]
    report(f"daemon and guard killed, daemon launched again: body starts after {spread(measured)} s, launch included")
    assert max(measured) <= 2  # of which the launch of a Python process takes most: the lease itself is free at once


@pytest.mark.soak
@pytest.mark.parametrize("lose", [cut_off, frozen])
def test_a_silent_daemons_task_starts_elsewhere_within_the_lease_and_1_s(tmp_path, lose, report):
    measured = [lose(tmp_path / str(n), random.uniform(0.3, 8)) for n in range(TIMES)]
    started, before = [one[0] for one in measured], [one[1] for one in measured]
    report(
        f"{lose.__name__}, lease {LEASE_S:g} s: body starts elsewhere after {spread(started)} s, "
        f"the old tree was dead {spread(before)} s before"
    )
    assert max(started) <= LEASE_S + 1
    assert min(before) > 0


@pytest.mark.soak
def test_a_wait_task_waits_for_its_killed_machine_and_runs_there_again(tmp_path, report):
    with ExitStack() as stack:
        scene = Scene(stack, tmp_path, 2.0, on_loss="wait")
        scene.first.kill()
        dead_s = end_s(scene.pids)
        time.sleep(3 * LEASE_S)
        assert len(scene.diary.entries("the task")) == 1, "it was started elsewhere"
        task = scene.hub.call("GET", f"/api/tasks/{scene.task_id}")[1]
        assert (task["status"], task.get("waitingFor")) == ("pending", "first")
        launched_at = time.time()
        stack.enter_context(daemon(scene.hub.port, tmp_path, "first", scene.diary, 0.2))
        again = scene.diary.wait("the task", count=2)
        result_of(scene.hub, scene.task_id)
        assert [outcome for _, outcome in story(scene.hub, scene.task_id)] in (["released", "done"], ["lost", "done"])
        report(
            f"a `wait` task whose daemon was killed: tree dead after {dead_s:.2f} s, not started for {3 * LEASE_S:g} s "
            f"by an idle daemon, started by its own {again['began'] - launched_at:.2f} s after its launch"
        )


@pytest.mark.soak
def test_guard_and_daemon_killed_together_leave_a_tree_that_the_next_start_ends(tmp_path, report):
    with ExitStack() as stack:
        scene = Scene(stack, tmp_path, 1.0)
        os.kill(guard_of(scene.first), signal.SIGKILL)
        scene.first.kill()
        time.sleep(0.5)
        assert any(is_alive(pid) for pid in scene.pids), "nobody was left to end them, and yet they are gone"
        killed_at = time.time()
        began_at = scene.second_start()
        assert began_at - killed_at <= LEASE_S + 1
        launched = time.monotonic()
        stack.enter_context(daemon(scene.hub.port, tmp_path, "first", scene.diary, 0.2))
        end_s(scene.pids, within_s=10)
        report(
            f"guard and daemon killed together: elsewhere after {began_at - killed_at:.1f} s (lease {LEASE_S:g} s), "
            f"leftovers ended {time.monotonic() - launched:.2f} s after the next launch"
        )


@pytest.mark.soak
def test_a_connection_that_is_cut_50_times_loses_no_lease(tmp_path, report):
    with ExitStack() as stack:
        hub = stack.enter_context(Hub(tmp_path / "hub", policy={"lease_ms": 3_000}))
        proxy = stack.enter_context(Proxy(hub.port))
        diary = Diary(tmp_path / "diary")
        one = stack.enter_context(daemon(proxy.port, tmp_path, "cut", diary, RUN_S, heartbeat_interval_ms=1_000))
        stack.enter_context(daemon(hub.port, tmp_path, "idle", diary, RUN_S))
        wait_idle(hub, "cut")
        tasks = [submit(hub, f"task {n}", onLoss="requeue") for n in range(2)]
        for n in range(2):
            diary.wait(f"task {n}")
        cuts = 0
        for _ in range(500):
            time.sleep(random.uniform(0.05, 0.6))
            cuts += bool(proxy.cut())  # only what hit a connection counts
            if cuts == 50:
                break
        assert cuts == 50
        for n in range(2):
            diary.wait(f"task {n}", "end", within_s=2 * RUN_S)
        for n, task_id in enumerate(tasks):
            result_of(hub, task_id)
            assert len(diary.entries(f"task {n}")) == 1
            assert [outcome for _, outcome in story(hub, task_id)] == ["done"]
        assert one.is_running
        report(f"50 cuts of live connections ({proxy.accepted} accepted), leases of 3 s: none lost, one start a task")


@pytest.mark.soak
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL, signal.SIGSTOP])
def test_a_wait_task_goes_on_while_the_hub_is_away_and_is_delivered_once(tmp_path, how, report):
    policy = {"lease_ms": 2_000, "late_after_ms": 5_000, "down_after_ms": 8_000}
    away_s, run_s = 20.0, 12.0
    with ExitStack() as stack:
        hub = stack.enter_context(Hub(tmp_path / "hub", policy=policy))
        diary = Diary(tmp_path / "diary")
        stack.enter_context(daemon(hub.port, tmp_path, "worker", diary, run_s, heartbeat_interval_ms=1_000))
        task_id = submit(hub, "the task", onLoss="wait")
        run = diary.wait("the task")
        stack.enter_context(daemon(hub.port, tmp_path, "idle", diary, run_s, heartbeat_interval_ms=1_000))
        wait_idle(hub, "idle")
        hub.signal(how)
        if how != signal.SIGSTOP:
            hub.wait()
        time.sleep(away_s)
        assert diary.entries("the task", "end"), "the run did not come to its end"
        back = time.monotonic()
        if how == signal.SIGSTOP:
            hub.signal(signal.SIGCONT)
        else:
            hub.start()
        result_of(hub, task_id, within_s=40)
        delivered_s = time.monotonic() - back
        time.sleep(5)
        task = hub.call("GET", f"/api/tasks/{task_id}")[1]
        assert task["status"] == "done"
        assert task["result"]["output"].strip() == "answer to the task"
        assert len(diary.entries("the task")) == 1, "it was started twice"
        assert not any(is_alive(pid) for pid in [run["pid"], *run["strays"]])
        events = hub.call("GET", f"/api/events?search={task_id}&limit=1000")[1]["events"]
        assert [event["name"] for event in events].count("task.done") == 1
        alarms = hub.call("GET", "/api/events?search=daemon.down&limit=10")[1]["events"]
        assert alarms == []
        report(
            f"hub away for {away_s:g} s ({how.name}), run of {run_s:g} s under `wait`: started once, "
            f"delivered once, {delivered_s:.1f} s after its return"
        )
