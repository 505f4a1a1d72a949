"""Reads of one key never stand before those of another, nor does a large answer hold the event loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from msgspec import UNSET, Raw, UnsetType

from tests.api.hubs import Hub
from tests.api.wire import ADMIN, OWNER
from tests.waiting import eventually
from understudy.api import endpoint, endpoint_app, streams
from understudy.api.fields import READ_AT_ONCE_BYTES
from understudy.api.respond import encoded
from understudy.clock import ManualClock
from understudy.errors import UnavailableError
from understudy.runtime.hub import reading
from understudy.runtime.hub.reading import LOOKS_A_KEY_AT_ONCE, ReaderPool
from understudy.store.base import Reader
from understudy.wire.answers.base import Answer
from understudy.wire.decode import decode


class SlowStore:
    """A store in which looks stand, while it is told so, until they are let go."""

    def __init__(self, store: Any) -> None:
        self._store = store
        self.is_shared = store.is_shared
        self.transaction = store.transaction
        self.close = store.close
        self.is_slow = False
        self.go_on = threading.Event()
        self.standing = 0

    def read(self, fn: Callable[[Reader], Any], within_ms: int = 0) -> Any:
        if self.is_slow and threading.current_thread().name.startswith("reader"):
            self.standing += 1
            assert self.go_on.wait(120)
        return self._store.read(fn, within_ms)


def test_a_key_with_many_reads_leaves_a_thread_to_the_others(start_hub: Callable[..., Hub]) -> None:
    hub = start_hub(wrap=SlowStore)
    store: Any = hub.store
    store.is_slow = True
    with ThreadPoolExecutor(20) as pool:
        sent = [pool.submit(hub.new_client().get, "/api/queue", key=OWNER) for _ in range(20)]
        try:
            eventually(lambda: hub.runtime._reading._looks.total() == 20)
            eventually(lambda: store.standing == LOOKS_A_KEY_AT_ONCE)
            store.is_slow = False
            assert hub.get("/api/queue", key=ADMIN).of(200)["count"] == 0
            assert not any(one.done() for one in sent)
        finally:
            store.go_on.set()
        assert {one.result(60).status for one in sent} == {200}
    assert not hub.runtime._reading._looks
    assert not hub.runtime._reading._under_way


def test_reads_of_a_key_beyond_its_line_are_429(start_hub: Callable[..., Hub], monkeypatch) -> None:
    monkeypatch.setattr(reading, "LOOKS_A_KEY_MAX", 3)
    hub = start_hub(wrap=SlowStore)
    store: Any = hub.store
    store.is_slow = True
    with ThreadPoolExecutor(3) as pool:
        sent = [pool.submit(hub.new_client().get, "/api/queue", key=OWNER) for _ in range(3)]
        try:
            eventually(lambda: hub.runtime._reading._looks.total() == 3)
            assert hub.get("/api/queue", key=OWNER).of(429)["retryAfter"] == 1
        finally:
            store.go_on.set()
        assert {one.result(60).status for one in sent} == {200}
    hub.get("/api/queue", key=OWNER).of(200)


class Looks:
    """Looks that stand until they are let go, without a hub."""

    def __init__(self) -> None:
        self.reading = ReaderPool(ManualClock())
        self.let_go = threading.Event()
        self.begun: list[str] = []

    def start(self, key_id: str, name: str = "") -> asyncio.Task[Any]:
        def read(_: int) -> str:
            self.begun.append(name)
            assert self.let_go.wait(120)
            return name

        return asyncio.get_running_loop().create_task(self.reading.look(key_id, read))

    async def settle(self) -> None:
        for _ in range(5):
            await asyncio.sleep(0)


def test_who_waits_and_goes_passes_its_turn_on() -> None:
    async def go() -> None:
        looks = Looks()
        tasks = [looks.start("a", str(n)) for n in range(6)]
        await looks.settle()
        tasks[2].cancel()  # waits
        await looks.settle()
        looks.let_go.set()
        await asyncio.wait((tasks[0],))
        tasks[3].cancel()  # may just have got its turn
        done = await asyncio.gather(*tasks, return_exceptions=True)
        assert [done[n] for n in (0, 1, 4, 5)] == ["0", "1", "4", "5"]
        assert "2" not in looks.begun
        assert not looks.reading._looks
        assert not looks.reading._under_way
        assert not looks.reading._waiting
        looks.reading.close()

    asyncio.run(go())


def test_all_keys_together_are_bounded_too(monkeypatch) -> None:
    monkeypatch.setattr(reading, "LOOKS_MAX", 3)

    async def go() -> None:
        looks = Looks()
        tasks = [looks.start(str(n)) for n in range(3)]
        await looks.settle()
        with pytest.raises(UnavailableError):
            await looks.start("b")
        looks.let_go.set()
        await asyncio.gather(*tasks)
        looks.reading.close()

    asyncio.run(go())


def test_a_search_is_no_look() -> None:
    async def go() -> None:
        looks = Looks()
        tasks = [looks.start("a") for _ in range(3)]
        await looks.settle()
        assert await looks.reading.search("a", lambda _: "found") == "found"
        looks.let_go.set()
        await asyncio.gather(*tasks)
        looks.reading.close()

    asyncio.run(go())


@pytest.mark.parametrize("path", ["/api/queue", "/api/tasks", "/api/tasks?q=x", "/api/events", "/api/daemons"])
def test_what_was_read_is_encoded_by_the_thread_that_read_it(hub: Hub, monkeypatch, path: str) -> None:
    names: list[str] = []

    def noted(body: Any) -> Any:
        names.append(threading.current_thread().name)
        return encoded(body)

    for module in (endpoint_app, streams):
        monkeypatch.setattr(module, "encoded", noted)
    hub.get(path).of(200)
    assert [name.partition("_")[0] for name in names] in (["reader"], ["searcher"])


@pytest.mark.parametrize(("chars", "is_aside"), [(100, False), (READ_AT_ONCE_BYTES, True)], ids=["small", "large"])
@pytest.mark.parametrize("path", ["/api/queue", "/api/memory/save"])
def test_a_large_body_is_parsed_beside_the_event_loop(hub: Hub, monkeypatch, path: str, chars: int, is_aside) -> None:
    threads: list[threading.Thread] = []

    def noted(body: bytes, shape: type[Any]) -> Any:
        threads.append(threading.current_thread())
        return decode(body, shape)

    monkeypatch.setattr(endpoint, "decode", noted)
    body = {
        "content": "x" * chars,
        **({} if path == "/api/queue" else {"user_id": "u", "channel": "c", "role": "user"}),
    }
    assert hub.post(path, body).status in (200, 201)
    assert [thread.name != "hubs" for thread in threads] == [is_aside]


class Parts(Answer, frozen=True):
    many_tasks: list[Any]
    next: str
    none: list[Any]
    more: int | UnsetType = UNSET


def test_the_parts_of_a_long_list_make_the_same_json() -> None:
    body = Parts([{"id": "a", "x": None}, "text", 5, []], "5~a", [])
    assert encoded(body).payload == b'{"manyTasks":[{"id":"a","x":null},"text",5,[]],"next":"5~a","none":[]}'
    assert encoded(Raw(b"[1]")).payload == b"[1]"


def test_without_a_thread_to_read_with_it_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    """503: to be asked again, no defect."""

    def scarce(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    async def both() -> None:
        reading = ReaderPool(ManualClock())
        for read in (reading.look, reading.search):
            with pytest.raises(UnavailableError, match="no thread"):
                await read("key", lambda _: None)

    monkeypatch.setattr(threading.Thread, "start", scarce)
    asyncio.run(both())
