"""The hub in a real Durable Object: tasks, polls, streams, silence and its notices, takeover, kills, a daemon."""

from __future__ import annotations

import http.client
import json
import os
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.cli.program import PROGRAM
from tests.cloudflare.hubs import ADMIN_KEY, KEY, WorkerHub
from tests.cloudflare.place import Place
from tests.fakes.claude import FakeClaude
from tests.fakes.webhook import FakeWebhook
from tests.waiting import eventually
from understudy.cloudflare.hub_object import BODY_BYTES_MAX
from understudy.wire.limits import NESTING_MAX

pytestmark = pytest.mark.real_worker


@pytest.fixture(scope="module")
def hub(place: Place, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WorkerHub]:
    """One hub for what leaves no trace that others would see."""
    made = WorkerHub(place, tmp_path_factory.mktemp("worker"))
    yield made
    made.workerd.stop()


def test_a_task_goes_its_way(hub: WorkerHub) -> None:
    hub.enqueue("way-1")
    claim = hub.post("/api/queue/claim", {"workerId": "w", "provides": ["machine"]})
    assert claim["taskId"] == "way-1"
    token = claim["lease"]["token"]
    hub.post("/api/queue/way-1/renew", {"workerId": "w", "token": token, "checkpoint": {"step": 1}})
    assert hub.ask("POST", "/api/result/way-1", {"success": True, "token": token - 1})[0] == 409
    hub.post("/api/result/way-1", {"success": True, "output": "あ" * 100_000, "token": token})
    assert hub.get("/api/result/way-1")["output"] == "あ" * 100_000
    assert hub.get("/api/tasks/way-1")["attempts"][0]["outcome"] == "done"


def test_what_is_refused_elsewhere_is_refused_there(hub: WorkerHub) -> None:
    assert hub.ask("GET", "/api/queue", key="wrong")[0] == 401
    assert hub.ask("GET", "/api/keys")[0] == 403
    assert hub.ask("POST", "/api/queue", {"content": 5})[0] == 400
    assert hub.ask("GET", "/nowhere")[0] == 404
    assert hub.ask("POST", "/api/queue", {"content": "x" * (2 << 20)})[0] == 413


def test_a_large_result_is_kept_and_one_that_no_row_would_hold_is_refused(hub: WorkerHub) -> None:
    hub.enqueue("large")
    hub.post("/api/queue/claim", {"workerId": "w"})
    assert hub.ask("POST", "/api/result/large", {"success": True, "output": "x" * BODY_BYTES_MAX})[0] == 413
    output = "x" * (BODY_BYTES_MAX - 100)
    hub.post("/api/result/large", {"success": True, "output": output})
    assert hub.get("/api/result/large")["output"] == output


def test_a_text_as_deep_as_is_taken_does_no_harm_and_a_deeper_one_is_refused(hub: WorkerHub) -> None:
    inner: Any = "the deepest"
    for _ in range(NESTING_MAX - 2):
        inner = [inner]
    hub.enqueue("deep", metadata={"x": inner})
    assert [task["id"] for task in hub.get("/api/tasks?q=the%20deepest")["tasks"]] == ["deep"]
    for deep in (
        b"[" * 5000,
        b'{"content":' * 5000,
        b'{"content":"x","metadata":{"x":' + b"[" * 20_000 + b"]" * 20_000 + b"}}",
    ):
        status, _ = hub.workerd.ask("POST", "/api/queue", deep, {"X-API-Key": KEY})
        assert status == 400
    assert hub.get("/api/tasks/deep")["status"] == "pending"


def test_a_poll_is_answered_by_the_commit_of_its_task(hub: WorkerHub) -> None:
    asked = {"workerId": "poller", "provides": ["tag:poll"], "waitSec": 50}
    with ThreadPoolExecutor(1) as pool:
        poll = pool.submit(hub.post, "/api/queue/claim", asked)
        hub.enqueue("poll-1", needs=["tag:poll"])
        assert poll.result(60)["taskId"] == "poll-1"


def test_a_poll_whose_client_is_gone_gets_no_task(hub: WorkerHub) -> None:
    body = json.dumps({"workerId": "gone", "provides": ["tag:gone"], "waitSec": 55}).encode()
    head = f"POST /api/queue/claim HTTP/1.1\r\nHost: x\r\nX-API-Key: {KEY}\r\nContent-Length: {len(body)}\r\n\r\n"
    for n in range(3):
        client = socket.create_connection(("127.0.0.1", hub.workerd.port))
        client.sendall(head.encode() + body)
        hub.enqueue(f"other-{n}")  # its answer comes after the poll was read: one object has one loop
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
        hub.enqueue(f"other-again-{n}")
    hub.enqueue("gone-1", needs=["tag:gone"])
    assert hub.get("/api/tasks/gone-1")["status"] == "pending"
    assert hub.post("/api/queue/claim", {"workerId": "there", "provides": ["tag:gone"]})["taskId"] == "gone-1"


def test_events_are_streamed_as_they_happen(hub: WorkerHub) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", hub.workerd.port, timeout=60)
    connection.request("GET", "/api/events?follow=1&search=stream-1", headers={"X-API-Key": KEY})
    stream = connection.getresponse()
    hub.enqueue("stream-1")
    lines = (stream.readline() for _ in range(50))
    event = json.loads(next(line for line in lines if line.startswith(b"data: "))[6:])
    assert (event["name"], event["fields"]["taskId"]) == ("task.queued", "stream-1")
    connection.close()


def test_commands_and_a_daemon_work_against_it(hub: WorkerHub, tmp_path: Path) -> None:
    code = "import sys; print('read: ' + sys.stdin.read())"
    command = [*PROGRAM, "daemon", "--id", "real", "--data", str(tmp_path / "data"), "--", sys.executable, "-c", code]
    env = {**os.environ, **hub.environ}
    with (tmp_path / "daemon.log").open("wb") as log:
        daemon = subprocess.Popen(command, env=env, stdout=log, stderr=log)
    try:
        submit = [*PROGRAM, "submit", "tell me", "--wait"]
        done = subprocess.run(submit, env=env, capture_output=True, text=True, timeout=120, check=False)
        assert "read: tell me" in done.stdout, (done, (tmp_path / "daemon.log").read_text())
        shown = subprocess.run([*PROGRAM, "status"], env=env, capture_output=True, text=True, timeout=60, check=False)
        assert "real" in shown.stdout, shown
    finally:
        daemon.terminate()
        daemon.wait(60)
    assert "daemon.stopped" in hub.events()


# ---- what takes time, each on a hub of its own


ASLEEP_S = 15.0  # an object without requests is put to sleep after some 10 s
QUICK = {"late_after": "2s", "down_after": "4s", "heartbeat_interval": "1s", "lease_duration": "2s"}


def test_late_down_takeover_recovered_and_a_notice_of_each(place: Place, directory: Path) -> None:
    with FakeWebhook(is_fresh=True) as receiver, FakeClaude() as claude:
        hub = WorkerHub(
            place,
            directory,
            **QUICK,
            webhook_url=receiver.address,
            webhook_secret=receiver.secret,
            takeover="answer",
            takeover_after="1s",
            ANTHROPIC_API_KEY=claude.key,
            ANTHROPIC_BASE_URL=claude.url,
        )
        try:
            hub.beat(1)
            hub.enqueue("text", needs=[])
            eventually(
                lambda: hub.ask("GET", "/api/result/text")[0] == 200, within_s=30, what="an answer in their place"
            )
            hub.beat(2)
            wanted = {"daemon.late", "daemon.down", "daemon.recovered"}
            eventually(lambda: wanted <= set(hub.events()), within_s=20, what="late, down and recovered")
            names = [name for name in hub.events() if name in wanted]
            assert names[:3] == ["daemon.late", "daemon.down", "daemon.recovered"]
            eventually(lambda: len(receiver.deliveries) >= 3, within_s=20, what="a notice of each")
            assert (receiver.problems, claude.problems) == ([], [])
            assert len(claude.questions) == 1
            assert hub.get("/api/takeover", key=ADMIN_KEY)["mode"] == "answer"
        finally:
            hub.workerd.stop()


def test_what_was_acknowledged_survives_kills_and_an_overdue_deadline_rings_by_itself(
    place: Place, directory: Path
) -> None:
    hub = WorkerHub(place, directory, late_after="3s", down_after="600s", heartbeat_interval="1s")
    kept: list[str] = []
    try:
        hub.beat(1)
        for life in range(3):
            _fill_until_killed(hub, life, kept)
            hub.workerd.start()
        assert kept
        missing = [task_id for task_id in kept if hub.ask("GET", f"/api/tasks/{task_id}")[0] != 200]
        assert missing == []
        eventually(lambda: "daemon.late" in hub.events(), within_s=30, what="the deadline of a daemon that is silent")
    finally:
        hub.workerd.stop()


def _fill_until_killed(hub: WorkerHub, life: int, kept: list[str]) -> None:
    """Enqueue on several connections, and kill in the middle of it."""
    enough = threading.Event()

    def fill(line: int) -> None:
        for n in range(1_000):
            task_id = f"task-{life}-{line}-{n}"
            try:
                hub.enqueue(task_id)
            except (OSError, http.client.HTTPException):
                return
            kept.append(task_id)
            if n >= 10 * (life + 1):
                enough.set()

    with ThreadPoolExecutor(4) as pool:
        lines: list[Any] = [pool.submit(fill, line) for line in range(4)]
        assert enough.wait(120)
        hub.workerd.kill()
        for line in lines:
            line.result(60)


def test_an_object_that_is_put_to_sleep_between_beats_makes_no_gap_and_no_alarm(place: Place, directory: Path) -> None:
    hub = WorkerHub(place, directory, late_after="60s", down_after="600s", log_level="debug")
    try:
        for seq in (1, 2, 3):
            hub.beat(seq, intervalSec=15)
            threading.Event().wait(ASLEEP_S)  # nothing else makes it sleep
        hub.beat(4, intervalSec=15)
        assert {"hub.gap", "daemon.late"}.isdisjoint(hub.events())
    finally:
        hub.workerd.stop()
