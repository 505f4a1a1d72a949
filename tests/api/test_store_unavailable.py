"""Section 0: a store that fails is 503 on every row, and never looks like an answer."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.api.hubs import Hub
from tests.api.rows import NAMES, ROWS, Row
from tests.api.wire import ADMIN
from tests.waiting import eventually
from understudy.errors import StoreError
from understudy.store.base import Store


class Failing:
    """A store that fails while `is_failing`."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.is_failing = False

    def transaction(self, fn: Any) -> Any:
        if self.is_failing:
            raise StoreError("Store unavailable: disk I/O error at /secret/path")
        return self._store.transaction(fn)

    def read(self, fn: Any) -> Any:
        if self.is_failing:
            raise StoreError("Store unavailable: disk I/O error at /secret/path")
        return self._store.read(fn)

    def close(self) -> None:
        self._store.close()


@pytest.fixture
def failing(start_hub: Callable[..., Hub]) -> Hub:
    """A hub whose store fails from now on; one task waits in it."""
    hub = start_hub(wrap=Failing)
    hub.enqueue("x1")
    hub.store.is_failing = True
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


def test_keys_are_still_checked(failing: Hub) -> None:
    failing.get("/api/queue", key="wrong").of(401)


def test_the_hub_goes_on_when_the_store_is_back(failing: Hub) -> None:
    failing.post("/api/queue", {"id": "x2", "content": "x"}).of(503)
    failing.store.is_failing = False
    assert failing.pending() == ["x1"]
    failing.post("/api/queue", {"id": "x2", "content": "x"}).of(201)
    assert failing.claim()["taskId"] == "x1"


def test_a_full_disk_is_unavailable_and_half_of_nothing(start_hub: Callable[..., Hub], tmp_path: Path) -> None:
    hub = start_hub(path=tmp_path / "hub.db")
    hub.enqueue("first")
    pages = hub.store._writer.execute("PRAGMA page_count").fetchone()[0]
    hub.store._writer.execute(f"PRAGMA max_page_count = {pages + 20}")
    big = {"tasks": [{"id": f"b{n}", "content": "x" * 1000} for n in range(500)]}
    assert hub.post("/api/queue/batch", big).of(503)["error"] == "Store unavailable"
    assert hub.pending() == ["first"]
    hub.store._writer.execute("PRAGMA max_page_count = 1000000")
    assert all(task["created"] for task in hub.post("/api/queue/batch", big).of(200)["tasks"])
    assert len(hub.pending()) == 501


def test_one_request_that_the_store_refuses_fails_alone(start_hub: Callable[..., Hub], tmp_path: Path) -> None:
    """Requests of one batch share a transaction: it is rolled back, and each is tried alone, once."""
    hub = start_hub(path=tmp_path / "hub.db")
    pages = hub.store._writer.execute("PRAGMA page_count").fetchone()[0]
    hub.store._writer.execute(f"PRAGMA max_page_count = {pages + 30}")
    bodies = [{"id": "small1", "content": "x"}, {"id": "large", "content": "x" * 900_000}, {"id": "small2", "content": "x"}]
    with ThreadPoolExecutor(4) as pool:
        with hub.store._writing:  # the writer stands in its first transaction: what comes now is its next batch
            beat = pool.submit(hub.new_client().post, "/api/queue/heartbeat", {})
            eventually(lambda: hub.runtime.writer._queue.empty())
            sent = []
            for n, body in enumerate(bodies):
                sent.append(pool.submit(hub.new_client().post, "/api/queue", body))
                eventually(lambda n=n: hub.runtime.writer._queue.qsize() == n + 1)
        beat.result(10).of(200)
        assert [answer.result(10).status for answer in sent] == [201, 503, 201]
    assert hub.pending() == ["small1", "small2"]
