"""The hub in a real Durable Object: tasks, polls, streams, pages, silence and its notices, takeover, a daemon."""

from __future__ import annotations

import gzip
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
from contextlib import closing
from pathlib import Path
from typing import Any, Self

import pytest

from tests.cli.program import PROGRAM
from tests.cloudflare.hubs import ADMIN_KEY, KEY, WorkerHub
from tests.cloudflare.place import Place
from tests.dashboard.browser import Browser
from tests.fakes.claude import FakeClaude
from tests.fakes.slack import FakeSlack
from tests.waiting import eventually
from understudy.cloudflare.hub_object import BODY_BYTES_MAX
from understudy.dashboard.pages import PAGES
from understudy.dashboard.static_files import static_files, static_path
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


NOBODYS = ["tag:nobody"]  # no claim of another test gets it


def test_keys_and_searches_in_japanese_are_what_they_are(hub: WorkerHub) -> None:
    def enqueue(key: str, content: str) -> Any:
        body = json.dumps({"content": content, "needs": NOBODYS}).encode()
        return hub.workerd.ask(
            "POST", "/api/queue", body, {"X-API-Key": KEY, "Idempotency-Key": key.encode().decode("latin-1")}
        )

    assert [enqueue(key, "庭の水やり")[0] for key in ("日", "旦", "日")] == [201, 201, 200]
    raw = socket.create_connection(("127.0.0.1", hub.workerd.port), 60)
    with closing(raw), raw.makefile("rb") as answer:
        raw.sendall(f"GET /api/tasks?q=庭の水 HTTP/1.0\r\nHost: x\r\nX-API-Key: {KEY}\r\n\r\n".encode())
        assert "庭の水やり" in answer.read().decode()


def test_a_length_of_thousands_of_zeros_is_a_length(hub: WorkerHub) -> None:
    body = json.dumps({"content": "x", "needs": NOBODYS}).encode()
    status, _ = hub.workerd.ask(
        "POST", "/api/queue", body, {"X-API-Key": KEY, "Content-Length": f"{'0' * 5_000}{len(body)}"}
    )
    assert status == 201


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
    with RealDaemon(hub, tmp_path):
        submit = [*PROGRAM, "submit", "tell me", "--wait"]
        done = subprocess.run(
            submit, env=os.environ | hub.environ, capture_output=True, text=True, timeout=120, check=False
        )
        assert "read: tell me" in done.stdout, done
        asked = [*PROGRAM, "status"]
        shown = subprocess.run(asked, env=os.environ | hub.environ, capture_output=True, text=True, check=False)
        assert "real" in shown.stdout, shown
    assert "daemon.stopped" in hub.events()


def test_pages_styles_and_metrics_are_there(hub: WorkerHub) -> None:
    hub.enqueue("shown")
    hub.beat(1, "seen")
    link = hub.ask("POST", "/api/login-links", {"scope": "admin"}, key=ADMIN_KEY)[1]["path"]
    with closing(Browser(hub.workerd.port)) as browser:
        assert browser.get(link).status == 303
        paths = [page.path for page in PAGES if "{" not in page.path]
        for path in (*paths, "/tasks/shown", "/daemons/seen"):
            assert browser.get(path).status == 200, (path, hub.workerd.said()[-2000:])
    _, style = hub.workerd.ask("GET", static_path("style.css"), headers={"Accept-Encoding": "gzip"})
    assert gzip.decompress(style) == static_files()["style.css"].content
    status, page = hub.workerd.ask("GET", "/metrics", headers={"X-API-Key": KEY})
    assert status == 200
    assert b"understudy_store_up 1.0" in page


class RealDaemon:
    """The daemon as people start it; it echoes what it is given."""

    def __init__(self, hub: WorkerHub, directory: Path) -> None:
        code = "import sys; print('read: ' + sys.stdin.read())"
        data = str(directory / "data")
        self._command = [*PROGRAM, "daemon", "--id", "real", "--data", data, "--", sys.executable, "-c", code]
        self._environ = os.environ | hub.environ | {"UNDERSTUDY_HEARTBEAT_INTERVAL": "1s"}
        self._log = directory / "daemon.log"

    def __enter__(self) -> Self:
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(self._command, env=self._environ, stdout=log, stderr=log)
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait(60)


# ---- what takes time, each on a hub of its own


ASLEEP_S = 12.0  # an object without requests is put to sleep after some 10 s
QUICK = {"late_after": "8s", "down_after": "12s", "heartbeat_interval": "1s"}
BUDGET_USD = "0.003"  # a call costs 0.00204, and may cost no more than a little over that: a second one is too much
ONE_CALL = (400, 4000)  # tokens


def test_a_daemon_dies_is_stood_in_for_within_the_budget_returns_and_goes_on(place: Place, directory: Path) -> None:
    with FakeSlack() as slack, FakeClaude() as claude:
        claude.usage = ONE_CALL
        hub = WorkerHub(
            place,
            directory,
            **QUICK,
            SLACK_WEBHOOK_URL=slack.webhook,
            takeover="answer",
            takeover_after="1s",
            takeover_budget_task=BUDGET_USD,
            takeover_budget_day=BUDGET_USD,
            ANTHROPIC_API_KEY=claude.key,
            ANTHROPIC_BASE_URL=claude.url,
        )
        daemon = RealDaemon(hub, directory)
        try:
            with daemon:
                hub.enqueue("by-the-daemon", needs=[])
                assert _answer(hub, "by-the-daemon").startswith("read: do by-the-daemon")
                daemon.process.kill()
            hub.wait_for("daemon.late", "daemon.down", "takeover.opened")
            hub.enqueue("by-the-hub", needs=[])
            assert _answer(hub, "by-the-hub") == "Answer to: do by-the-hub"
            hub.enqueue("too-dear", needs=[])
            hub.wait_for("budget.spent")
            assert hub.get("/api/tasks/too-dear")["status"] == "pending"
            assert hub.get("/api/takeover")["budget"]["day"]["calls"] == 1
            with daemon:
                assert _answer(hub, "too-dear").startswith("read: do too-dear")
                hub.wait_for("daemon.recovered", "takeover.closed")
                eventually(lambda: _noticed(slack) >= NOTICED, within_s=60, what="a notice of each")
            assert len(claude.questions) == 1
            assert (slack.problems, claude.problems) == ([], [])
        finally:
            hub.workerd.stop()


NOTICED = {"late", "down", "recovered", "budget"}


def _noticed(slack: FakeSlack) -> set[str]:
    """What the notices at Slack are about."""
    said = json.dumps(list(slack.messages["hook"].values())).lower()
    return {word for word in NOTICED if word in said}


def _answer(hub: WorkerHub, task_id: str) -> str:
    """The output of a task, once it is there."""
    eventually(lambda: hub.ask("GET", f"/api/result/{task_id}")[0] == 200, within_s=90, what=f"the result of {task_id}")
    return str(hub.get(f"/api/result/{task_id}")["output"])


def test_a_poll_whose_client_has_closed_gets_a_task_for_the_length_of_a_lease(place: Place, directory: Path) -> None:
    """A plain close (FIN) goes unnoticed by workerd: the lease that nobody begins to work under ends by itself."""
    hub = WorkerHub(place, directory, lease_duration="2s")
    try:
        body = json.dumps({"workerId": "gone", "provides": ["tag:gone"], "waitSec": 55}).encode()
        head = f"POST /api/queue/claim HTTP/1.1\r\nHost: x\r\nX-API-Key: {KEY}\r\nContent-Length: {len(body)}\r\n\r\n"
        client = socket.create_connection(("127.0.0.1", hub.workerd.port))
        client.sendall(head.encode() + body)
        hub.enqueue("other")
        client.close()
        hub.enqueue("gone-1", needs=["tag:gone"])
        claim = hub.post("/api/queue/claim", {"workerId": "there", "provides": ["tag:gone"], "waitSec": 50})
        assert claim["taskId"] == "gone-1"
    finally:
        hub.workerd.stop()


def test_an_object_that_is_put_to_sleep_between_beats_makes_no_gap_and_no_alarm(place: Place, directory: Path) -> None:
    hub = WorkerHub(place, directory, late_after="60s", down_after="600s", log_level="debug")
    try:
        for seq in (1, 2):
            hub.beat(seq, intervalSec=15)
            threading.Event().wait(ASLEEP_S)  # nothing else makes it sleep
        hub.beat(3, intervalSec=15)
        assert {"hub.gap", "daemon.late"}.isdisjoint(hub.events())
    finally:
        hub.workerd.stop()
