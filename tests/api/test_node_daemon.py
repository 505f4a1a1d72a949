"""Existing Node daemons against this hub for hours: their tasks get finished, and they are never reported."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.api.hubs import HOUR, MINUTE, FailingStore, Hub, KeptStore, set_failing
from tests.api.node_daemon import NodeDaemon, World

SECOND = 1_000
DURATIONS = (3, 40, 130, 700, 5, 2_900, 61, 119)  # seconds; the longest needs two dozen renewals


def run_ms(task_id: str) -> int:
    return DURATIONS[int(task_id.rpartition(".")[2]) % len(DURATIONS)] * SECOND


def submit(world: World, first: int, last: int) -> list[str]:
    """Tasks as the chat integrations make them: dotted ids, users that are objects."""
    ids = [f"slack_1706745600.{n:06d}" for n in range(first, last)]
    for n, task_id in enumerate(ids):
        user: Any = {"id": 123, "username": "ada"} if n % 2 else "U123"
        metadata = {"user_id": user, "channel": "SLACK"}
        world.hub.enqueue(task_id, source="slack", metadata=metadata, priority=("high", "low")[n % 2])
    return ids


def reported(world: World) -> list[str]:
    return [event["name"] for event in world.hub.events("daemon.late", "daemon.down", "daemon.stuck")]


def statuses(world: World, ids: list[str]) -> Counter[str]:
    return Counter(world.hub.task(task_id)["status"] for task_id in ids)


@pytest.fixture
def start_world(start_hub: Callable[..., Hub]) -> Iterator[Callable[..., World]]:
    worlds: list[World] = []

    def start(**settings: Any) -> World:
        worlds.append(World(start_hub(**settings)))
        return worlds[-1]

    yield start
    for world in worlds:
        world.close()


@pytest.fixture
def world(start_world: Callable[..., World]) -> World:
    return start_world()


def test_idle_daemons_that_poll_are_never_late(world: World) -> None:
    """They beat every 5 min only, which is down_after; their polls are signs of life."""
    NodeDaemon(world, "mac-mini.local", run_ms)
    world.run(40 * MINUTE)
    assert reported(world) == []
    assert [daemon["daemonId"] for daemon in world.hub.get("/api/daemons").of(200)["daemons"]] == [
        "daemon_mac-mini.local"
    ]


def test_a_daemon_that_dies_is_reported_all_the_same(world: World) -> None:
    daemon = NodeDaemon(world, "mac-mini.local", run_ms)
    world.run(20 * MINUTE)
    daemon.stop()
    world.run(3 * MINUTE + 20 * SECOND)
    assert reported(world) == ["daemon.late"]
    world.run(2 * MINUTE)
    assert reported(world) == ["daemon.late", "daemon.down"]


def test_hours_of_work_with_restarts_and_outages(
    kept_store: KeptStore, start_hub: Callable[..., Hub], start_world: Callable[..., World]
) -> None:
    world = start_world(store=kept_store, wrap=FailingStore)
    clock, port = world.hub.clock, world.hub.port
    fleet = [NodeDaemon(world, host, run_ms) for host in ("mac-mini.local", "linux-box")]
    ids = submit(world, 0, 16)

    def restart(nth: int) -> None:
        """SIGKILL in mid-task, and half a minute later a new start with a new worker id."""
        fleet[nth].stop()
        host = ("mac-mini.local", "linux-box")[nth]

        def again() -> None:
            fleet[nth] = NodeDaemon(world, host, run_ms)

        world.at(30 * SECOND, again)

    def fail_for(ms: int) -> None:
        set_failing(world.hub, is_failing=True)
        world.at(ms, recover)

    def recover() -> None:
        set_failing(world.hub, is_failing=False)

    def stop_hub(ms: int) -> None:
        """The hub is gone: nobody listens."""
        world.hub.begin_stop().result(60)
        world.at(ms, start_again)

    def start_again() -> None:
        world.hub = start_hub(store=kept_store, wrap=FailingStore, clock=clock, port=port)

    for minute, act in (
        (7, lambda: fail_for(3 * SECOND)),
        (21, lambda: restart(0)),
        (33, lambda: fail_for(2 * SECOND)),
        (52, lambda: restart(1)),
        (58, lambda: fail_for(90 * SECOND)),
        (75, lambda: stop_hub(10 * MINUTE)),
        (100, lambda: restart(0)),
    ):
        world.at(minute * MINUTE, act)
    world.run(HOUR)
    ids += submit(world, 16, 26)
    world.run(2 * HOUR)
    assert statuses(world, ids) == {"done": 26}
    for task_id in ids:
        assert world.hub.get(f"/api/result/{task_id}").of(200) == {"success": True, "output": f"answer to {task_id}"}
    assert reported(world) == []
    assert world.hub.incidents() == []
    assert len(world.hub.get("/api/daemons").of(200)["daemons"]) == 2, "a restart is the same daemon"
    assert len(world.daemons) == 5
    assert any(daemon.given_up for daemon in world.daemons), "the outages were felt"
    assert max(world.hub.task(task_id)["losses"] for task_id in ids) >= 1, "and so were the restarts"


def test_a_daemon_without_its_cli_fails_its_tasks_once_each(world: World) -> None:
    NodeDaemon(world, "mac-mini.local", run_ms, has_cli=False)
    ids = submit(world, 0, 4)
    world.run(5 * MINUTE)
    assert statuses(world, ids) == {"failed": 4}
    for task_id in ids:
        task = world.hub.task(task_id)
        assert [attempt["outcome"] for attempt in task["attempts"]] == ["failed"]
        assert task["result"]["error"] == "CLI not found"
    assert reported(world) == []


def test_a_restarted_daemon_leaves_no_dead_one_behind(world: World) -> None:
    daemon = NodeDaemon(world, "mac-mini.local", run_ms)
    for _ in range(4):
        world.run(6 * MINUTE)
        daemon.stop()
        world.run(20 * SECOND)
        daemon = NodeDaemon(world, "mac-mini.local", run_ms)
    world.run(10 * MINUTE)
    assert reported(world) == []
    assert len(world.hub.get("/api/daemons").of(200)["daemons"]) == 1


def test_memory_is_kept_although_users_come_as_objects(world: World) -> None:
    NodeDaemon(world, "mac-mini.local", lambda _: SECOND)
    submit(world, 0, 2)
    world.run(MINUTE)
    assert world.hub.get("/api/memory/history/123?channel=slack").of(200)["count"] == 2
    assert world.hub.get("/api/memory/history/U123").of(200)["count"] == 2
