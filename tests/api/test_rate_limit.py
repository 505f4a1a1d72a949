"""Section 0: a bucket a key; what keeps a daemon alive is exempt; waiting requests are counted."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.api.hubs import Hub
from tests.api.rows import MESSAGE
from tests.api.wire import ADMIN, Stream
from tests.waiting import eventually
from understudy.api import waiting


def test_beyond_the_burst_requests_wait(start_hub: Callable[..., Hub]) -> None:
    hub = start_hub(per_s=0.5, burst=3)
    for _ in range(3):
        hub.get("/api/queue").of(200)
    answer = hub.get("/api/queue")
    refused = answer.of(429)
    assert refused["error"] == "Too Many Requests"
    assert isinstance(refused["message"], str)
    assert refused["retryAfter"] == 2
    assert answer.headers["retry-after"] == "2"


@pytest.mark.parametrize("per_s", [0.1, 0.3, 0.4, 0.7, 3, 200])
def test_who_comes_back_after_retry_after_is_admitted(start_hub: Callable[..., Hub], per_s: float) -> None:
    hub = start_hub(per_s=per_s, burst=1)
    hub.get("/api/queue").of(200)
    wait_s = hub.get("/api/queue").of(429)["retryAfter"]
    assert 1 <= wait_s <= 1 + 1 / per_s
    hub.clock.advance(wait_s * 1000)
    hub.get("/api/queue").of(200)


def test_each_key_has_a_bucket_of_its_own(start_hub: Callable[..., Hub]) -> None:
    hub = start_hub(per_s=1, burst=2)
    key = hub.post("/api/keys", {"name": "n", "scopes": ["read"]}, key=ADMIN).of(201)["key"]
    for _ in range(2):
        hub.get("/api/queue").of(200)
    hub.get("/api/queue").of(429)
    hub.get("/api/queue", key=key).of(200)


@pytest.mark.parametrize("row", ["enqueue", "batch", "read"])
def test_enqueue_and_reads_count(start_hub: Callable[..., Hub], row: str) -> None:
    hub = start_hub(per_s=1, burst=1)
    send = {
        "enqueue": lambda: hub.post("/api/queue", {"content": "x"}),
        "batch": lambda: hub.post("/api/queue/batch", {"tasks": [{"content": "x"}]}),
        "read": lambda: hub.get("/api/tasks"),
    }[row]
    assert send().status in (200, 201)
    send().of(429)


def test_what_would_make_a_false_alarm_is_exempt(start_hub: Callable[..., Hub]) -> None:
    hub = start_hub(per_s=0.001, burst=2)
    first, second = hub.enqueue(), hub.enqueue()
    hub.get("/api/queue").of(429)
    for _ in range(20):
        hub.post("/api/queue/heartbeat", {"workerId": "old_1738591000000"}).of(200)
        hub.beat().of(200)
        hub.claim("old_1738591000000")
        hub.post(f"/api/queue/{first}/renew", {"workerId": "old_1738591000000"}).of(200)
    hub.post(f"/api/queue/{first}/release", {"workerId": "old_1738591000000"}).of(200)
    hub.result(first, status="failed").of(200)
    hub.post("/api/results", {"results": [{"taskId": second, "token": 1, "success": True}]}).of(200)
    hub.get("/api/queue").of(429)


def test_a_refused_enqueue_has_done_nothing(start_hub: Callable[..., Hub]) -> None:
    hub = start_hub(per_s=1, burst=1)
    hub.post("/api/memory/save", MESSAGE).of(200)
    hub.post("/api/queue", {"content": "x"}).of(429)
    assert hub.claim()["success"] is False


def test_beyond_the_limit_of_waiting_requests_a_poll_is_refused(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    assert waiting.WAITING_POLLS_MAX == 4000
    monkeypatch.setattr(waiting, "WAITING_POLLS_MAX", 3)
    stream = Stream(hub.port, "/api/events?follow=1")
    with ThreadPoolExecutor(2) as pool:
        polls = [
            pool.submit(client.post, "/api/queue/claim", {"waitSec": 30})
            for client in (hub.new_client(), hub.new_client())
        ]
        eventually(lambda: hub.runtime.waiting.count == 3)
        refused = hub.post("/api/queue/claim", {"waitSec": 30})
        assert refused.of(503)["retryAfter"] >= 1
        assert "tasks" not in refused.body
        hub.get("/api/events?follow=1").of(503)
        hub.post("/api/queue/claim", {}).of(200)
        stream.close()
        for _ in polls:
            hub.enqueue()
        assert all(poll.result(60).of(200)["success"] for poll in polls)
    eventually(lambda: hub.runtime.waiting.count == 0)
