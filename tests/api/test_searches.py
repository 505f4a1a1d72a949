"""A search that reads everything never stands before a look; it has a line and a deadline of its own."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.api.hubs import Hub
from tests.api.wire import ADMIN, OWNER, Answer, Stream
from tests.waiting import eventually
from understudy.errors import SlowReadError
from understudy.runtime.hub import reading
from understudy.runtime.hub.reading import SEARCHES_A_KEY_MAX
from understudy.store.base import Reader
from understudy.store.queries import READY
from understudy.store.sqlite import SqliteStore

SEARCHES = (
    "/api/tasks?q=x",
    "/api/tasks?status=done",
    "/api/tasks?source=x",
    "/api/events?search=x",
    "/api/events?level=info",
    "/api/events?since=2020-01-01T00:00:00Z",
)
LOOKS = ("/api/queue", "/api/tasks", "/api/events", "/api/daemons", "/api/incidents")


class SlowStore:
    """A store in which searches stand until they are let go."""

    def __init__(self, store: Any) -> None:
        self._store = store
        self.is_shared = store.is_shared
        self.transaction = store.transaction
        self.close = store.close
        self.go_on = threading.Event()
        self.standing = 0

    def read(self, fn: Callable[[Reader], Any], within_ms: int = 0) -> Any:
        if threading.current_thread().name.startswith("searcher"):
            self.standing += 1
            assert self.go_on.wait(120)
        return self._store.read(fn, within_ms)


@contextmanager
def standing(hub: Hub, count: int, path: str = SEARCHES[0], **more: Any) -> Iterator[list[Future[Answer]]]:
    """So many searches that do not come back before the end."""
    store: Any = hub.store
    with ThreadPoolExecutor(count) as pool:
        try:
            sent = [pool.submit(hub.new_client().get, path, **more) for _ in range(count)]
            eventually(lambda: hub.runtime._reading._searches.total() + sum(f.done() for f in sent) == count)
            eventually(lambda: store.standing > 0)
            yield sent
        finally:
            store.go_on.set()


@pytest.fixture
def hub(start_hub: Callable[..., Hub]) -> Hub:
    return start_hub(wrap=SlowStore)


@pytest.mark.parametrize("search", SEARCHES)
def test_looks_are_answered_while_searches_stand(hub: Hub, search: str) -> None:
    with standing(hub, 2, search):
        for look in LOOKS:
            hub.get(look).of(200)
        hub.enqueue()
        assert hub.get("/ready", key=None).status in (200, 503)


def test_a_key_has_few_searches_and_takes_no_place_from_others(hub: Hub) -> None:
    with standing(hub, SEARCHES_A_KEY_MAX + 3) as sent:
        refused = [future.result(60) for future in sent if future.done()]
        assert [answer.status for answer in refused] == [429] * 3
        with ThreadPoolExecutor(1) as pool:
            other = pool.submit(hub.new_client().get, SEARCHES[0], key=ADMIN)
            eventually(lambda: len(hub.runtime._reading._searches) == 2)
            hub.store.go_on.set()  # type: ignore[attr-defined]
            other.result(60).of(200)
    assert [future.result(60).status for future in sent].count(200) == SEARCHES_A_KEY_MAX
    assert not hub.runtime._reading._searches


def test_the_line_of_searches_is_bounded(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "SEARCHES_MAX", 2)
    with standing(hub, 2):
        assert hub.get(SEARCHES[0], key=ADMIN).of(503)["error"] == "Too many searches"


def test_whoever_stood_in_line_too_long_is_told_so(hub: Hub) -> None:
    with standing(hub, 2) as sent:
        hub.clock.advance(reading.WAIT_WITHIN_MS + 1)
        hub.store.go_on.set()  # type: ignore[attr-defined]
        assert sorted(future.result(60).status for future in sent) == [200, 503]


def endless(reader: Reader) -> int:
    db: Any = reader._db  # type: ignore[attr-defined]
    counted = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT count(*) FROM n"
    return int(db.execute(counted).fetchone()[0])


def test_read_without_end_is_cut_at_its_deadline_and_the_connection_is_good_again(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "hub.db")
    with pytest.raises(SlowReadError):
        store.read(endless, 50)
    assert store.read(lambda tx: tx.count(READY, limit=1)) == 0
    assert store.trouble() == ""
    store.close()


@pytest.mark.sqlite
def test_a_search_that_takes_too_long_is_told_to_be_narrower(
    start_hub: Callable[..., Hub], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "SEARCH_WITHIN_MS", 50)
    hub = start_hub(path=tmp_path / "hub.db")
    monkeypatch.setattr("understudy.hub.views.View.tasks", lambda view, _: endless(view.reader))
    refused = hub.get(SEARCHES[0]).of(503)
    assert refused["code"] == "too_slow"
    assert "Store unavailable" not in hub.log.getvalue()


class ShyStore:
    """A store in which every search after the first ones is refused."""

    def __init__(self, store: Any) -> None:
        self._store = store
        self.is_shared = store.is_shared
        self.transaction = store.transaction
        self.close = store.close
        self.left = 1000

    def read(self, fn: Callable[[Reader], Any], within_ms: int = 0) -> Any:
        if threading.current_thread().name.startswith("searcher"):
            self.left -= 1
            if self.left < 0:
                raise SlowReadError
        return self._store.read(fn, within_ms)


@pytest.mark.sqlite  # on a shared store the hub reads by itself, too: reads cannot be counted
def test_a_stream_whose_later_page_is_refused_ends_whole_and_goes_on_where_it_was(
    start_hub: Callable[..., Hub], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("understudy.api.streams.PAGE", 2)
    hub = start_hub(wrap=ShyStore)
    store: Any = hub.store
    ids = [hub.enqueue() for _ in range(5)]
    store.left = 2
    path = "/api/events?follow=1&search=task.queued"
    head = f"GET {path} HTTP/1.1\r\nHost: x\r\nX-API-Key: {OWNER}\r\nLast-Event-ID: 1\r\nConnection: close\r\n\r\n"
    with socket.create_connection(("127.0.0.1", hub.port), 10) as line:
        line.sendall(head.encode())
        said = b"".join(iter(lambda: line.recv(65536), b""))
    assert said.endswith(b"\r\n0\r\n\r\n"), "a body that ends as it should is no fault to a proxy or client"
    last = re.findall(rb"^id: (\d+)", said, re.MULTILINE)[-1].decode()
    store.left = 1000
    stream = Stream(hub.port, path, last_id=last)
    rest = [stream.next()[1]["fields"]["taskId"] for _ in range(len(ids) - said.count(b"\nid: "))]
    stream.close()
    assert rest == ids[-len(rest) :]
    assert said.count(b"\nid: ") == 4
