"""Section 0: a store that fails is 503 on every row, and never looks like an answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.api.hubs import FailingStore, Hub, set_failing
from tests.api.rows import NAMES, ROWS, Row
from tests.api.wire import ADMIN
from tests.waiting import eventually
from understudy.api import health
from understudy.store.sqlite import SqliteStore


@pytest.fixture
def failing(start_hub: Callable[..., Hub]) -> Hub:
    """A hub whose store fails from now on; one task waits in it."""
    hub = start_hub(wrap=FailingStore)
    hub.enqueue("x1")
    set_failing(hub, is_failing=True)
    return hub


@pytest.mark.parametrize("row", ROWS, ids=NAMES)
def test_every_row_says_that_the_store_is_unavailable(failing: Hub, row: Row) -> None:
    answer = failing.client.call(row.method, row.path, row.body, key=ADMIN)
    body = answer.of(503)
    assert body == {"error": "Store unavailable", "retryAfter": body["retryAfter"]}
    assert answer.headers["retry-after"] == str(body["retryAfter"])
    assert body["retryAfter"] >= 1


@pytest.mark.parametrize("more", [{"waitSec": 1}, {"max": 5}, {"requestId": "r"}])
def test_a_claim_never_mistakes_it_for_an_empty_queue(failing: Hub, more: dict[str, Any]) -> None:
    refused = failing.post("/api/queue/claim", {"workerId": "w", **more}).of(503)
    assert refused.keys() == {"error", "retryAfter"}


def test_a_stream_of_events_says_it_too(failing: Hub) -> None:
    failing.get("/api/events?follow=1").of(503)


def test_ready_says_no_and_health_still_answers(failing: Hub) -> None:
    ready = failing.get("/ready", key=None)
    assert ready.status == 503
    assert ready.body["ready"] is False
    assert ready.body["store"]["writable"] is False
    failing.get("/health", key=None).of(200)


def test_two_who_ask_at_once_whether_the_hub_is_ready_hear_the_same(hub: Hub) -> None:
    """The second one must not be answered from a probe that has not ended."""
    probe = health._Probe(hub.runtime)

    async def ask_twice() -> list[bool]:
        return await asyncio.gather(probe.is_writable(), probe.is_writable())

    assert hub.thread.run(ask_twice()) == [True, True]


@pytest.mark.sqlite
def test_a_store_that_hangs_is_not_ready(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.get("/ready", key=None).of(200)
    monkeypatch.setattr(health, "PROBE_MAX_S", 0.05)
    hub.advance(health.PROBE_EVERY_MS)
    with sqlite_of(hub)._writing:
        ready = [hub.get("/ready", key=None) for _ in range(2)]
    assert [(answer.status, answer.body["store"]["writable"]) for answer in ready] == [(503, False)] * 2
    eventually(lambda: hub.get("/ready", key=None).status == 200)


def test_keys_are_still_checked(failing: Hub) -> None:
    failing.get("/api/queue", key="wrong").of(401)


def test_the_hub_goes_on_when_the_store_is_back(failing: Hub) -> None:
    failing.post("/api/queue", {"id": "x2", "content": "x"}).of(503)
    set_failing(failing, is_failing=False)
    assert failing.pending() == ["x1"]
    failing.post("/api/queue", {"id": "x2", "content": "x"}).of(201)
    assert failing.claim()["taskId"] == "x1"


@pytest.mark.sqlite
def test_a_full_disk_is_unavailable_and_half_of_nothing(start_hub: Callable[..., Hub], tmp_path: Path) -> None:
    hub = start_hub(path=tmp_path / "hub.db")
    hub.enqueue("first")
    store = sqlite_of(hub)
    pages = store._writer.execute("PRAGMA page_count").fetchone()[0]
    store._writer.execute(f"PRAGMA max_page_count = {pages + 20}")
    big = {"tasks": [{"id": f"b{n}", "content": "x" * 1000} for n in range(500)]}
    assert hub.post("/api/queue/batch", big).of(503)["error"] == "Store unavailable"
    assert hub.pending() == ["first"]
    store._writer.execute("PRAGMA max_page_count = 1000000")
    assert all(task["created"] for task in hub.post("/api/queue/batch", big).of(200)["tasks"])
    assert len(hub.pending()) == 501


@pytest.mark.sqlite
def test_a_result_that_no_disk_takes_is_taken_later(start_hub: Callable[..., Hub], tmp_path: Path) -> None:
    """Until then its task stays leased; a daemon keeps it in its spool and sends it again."""
    hub = start_hub(path=tmp_path / "hub.db")
    hub.enqueue("first")
    token = hub.claim("w", max=1)["lease"]["token"]
    store = sqlite_of(hub)
    pages = store._writer.execute("PRAGMA page_count").fetchone()[0]
    store._writer.execute(f"PRAGMA max_page_count = {pages + 20}")
    result = {"token": token, "success": True, "output": "x" * 500_000}
    assert hub.result("first", **result).of(503)["retryAfter"] == 1
    assert hub.get("/api/queue/first").of(200)["status"] == "claimed"
    store._writer.execute("PRAGMA max_page_count = 1000000")
    assert hub.result("first", **result).of(200) == {"success": True}
    assert hub.get("/api/result/first").of(200)["output"] == result["output"]


@pytest.mark.sqlite
def test_one_request_that_the_store_refuses_fails_alone(start_hub: Callable[..., Hub], tmp_path: Path) -> None:
    """Requests of one batch share a transaction: it is rolled back, and each is tried alone, once."""
    hub = start_hub(path=tmp_path / "hub.db")
    store, writer = sqlite_of(hub), hub.runtime.writer
    pages = store._writer.execute("PRAGMA page_count").fetchone()[0]
    store._writer.execute(f"PRAGMA max_page_count = {pages + 30}")
    contents = {"small1": "x", "large": "x" * 900_000, "small2": "x"}
    batches: list[int] = []
    run = writer.engine.run

    def counted(operations: Any) -> Any:
        batches.append(len(operations))
        return run(operations)

    writer.engine.run = counted
    with ThreadPoolExecutor(4) as pool:
        with store._writing:  # the writer stands in its first transaction: what comes now is its next batch
            beat = pool.submit(hub.new_client().post, "/api/queue/heartbeat", {})
            eventually(lambda: batches == [1])
            sent = []
            for task_id, content in contents.items():
                sent.append(pool.submit(hub.new_client().post, "/api/queue", {"id": task_id, "content": content}))
                eventually(partial(is_queued, hub, len(sent)))
        beat.result(60).of(200)
        assert [answer.result(60).status for answer in sent] == [201, 503, 201]
    assert batches == [1, 3, 1, 1, 1]
    assert hub.pending() == ["small1", "small2"]


def is_queued(hub: Hub, count: int) -> bool:
    return len(hub.runtime.writer._asked) == count


def sqlite_of(hub: Hub) -> SqliteStore:
    assert isinstance(hub.store, SqliteStore)
    return hub.store
