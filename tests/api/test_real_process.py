"""What only a process of its own can show: its alarm's thread, its signals, its disk; with the clock of the machine."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.api.wire import Client, Stream, at
from tests.hub_process import ADMIN_KEY, KEY, HubProcess, running_hub
from tests.waiting import allowed_s, eventually


@pytest.fixture
def process(tmp_path: Path) -> Iterator[HubProcess]:
    """A hub with short limits."""
    limits = {"late_after": "1s", "down_after": "2s", "heartbeat_interval": "400ms", "lease_duration": "2s"}
    with running_hub(tmp_path, **limits) as hub:
        yield hub


@pytest.fixture
def client(process: HubProcess) -> Iterator[Client]:
    client = Client(process.port, key=KEY)
    yield client
    client.close()


def test_deadlines_are_kept_by_the_alarm_of_a_real_hub(process: HubProcess, client: Client) -> None:
    task_id = client.post("/api/queue", {"content": "x"}).of(201)["taskId"]
    client.post("/api/queue/heartbeat", {"daemonId": "mini", "intervalSec": 0.4}).of(200)
    lease = client.post("/api/queue/claim", {"max": 1}).of(200)["lease"]
    assert lease["durationSec"] == 2
    again = client.post("/api/queue/claim", {"waitSec": 10, "max": 1}).of(200)
    assert again["taskId"] == task_id, "the end of the lease answers the long poll"
    assert 0 <= at(again["lease"]["claimedAt"]) - at(lease["expiresAt"]) < allowed_s(0.5) * 1000
    down = eventually(lambda: client.get("/api/events?search=daemon.down").of(200)["events"])
    (late,) = client.get("/api/events?search=daemon.late").of(200)["events"]
    for event, limit_s in ((late, 1), (down[0], 2)):
        assert event["fields"]["elapsedSec"] == limit_s
        assert 0 <= at(event["at"]) - at(event["fields"]["deadlineAt"]) < allowed_s(0.5) * 1000


def test_a_hub_that_is_told_to_stop_lets_everybody_go_and_forgets_nothing(process: HubProcess, client: Client) -> None:
    stream = Stream(process.port, "/api/events?follow=1", key=KEY)
    task_id = client.post("/api/queue", {"content": "x", "needs": ["gpu"]}).of(201)["taskId"]
    event_id, _ = stream.until("task.queued")
    with ThreadPoolExecutor(1) as pool:
        waiting = Client(process.port, key=KEY)
        poll = pool.submit(waiting.post, "/api/queue/claim", {"waitSec": 50})
        eventually(lambda: client.get("/ready").status == 200)
        started = time.monotonic()
        assert process.stop() == 0
        assert time.monotonic() - started < allowed_s(5)
        assert poll.result(60).of(200)["success"] is False
        waiting.close()
    with pytest.raises(EOFError):
        stream.until("nothing")
    stream.close()
    client.close()
    process.start()
    assert client.get("/api/queue").of(200)["pending"] == [task_id]
    resumed = Stream(process.port, "/api/events?follow=1", last_id=event_id, key=KEY)
    assert resumed.until("hub.started")[1]["fields"]["version"]
    resumed.close()
    assert len(client.get("/api/deployments").of(200)["deployments"]) == 2


def test_what_was_answered_outlives_a_sigkill(process: HubProcess, client: Client) -> None:
    done = client.post("/api/queue", {"content": "x"}).of(201)["taskId"]
    token = client.post("/api/queue/claim", {"max": 1}).of(200)["lease"]["token"]
    client.post(f"/api/result/{done}", {"success": True, "token": token, "output": "kept"}).of(200)
    secret = client.post("/api/keys", {"name": "n", "scopes": ["read"]}, key=ADMIN_KEY).of(201)["key"]
    queued = [client.post("/api/queue", {"content": "x"}).of(201)["taskId"] for _ in range(5)]
    process.kill()
    client.close()
    process.start()
    assert client.get(f"/api/result/{done}").of(200) == {"success": True, "output": "kept"}
    assert client.get("/api/queue", key=secret).of(200)["pending"] == queued
