"""Hubs on one loop, where the tests of the API ask for a hub."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future

import pytest

from tests.api.hubs import Hub, LoopThread
from tests.runtime.one_loop.hubs import OneLoop


@pytest.fixture(scope="session")
def loop_thread() -> Iterator[LoopThread]:
    thread = LoopThread()
    yield thread
    thread.close()


@pytest.fixture
def start_hub(loop_thread: LoopThread) -> Iterator[Callable[..., Hub]]:
    started: list[Hub] = []

    def start(**settings: object) -> Hub:
        started.append(OneLoop(loop_thread, **settings))  # type: ignore[arg-type]
        return started[-1]

    yield start
    endings: list[Future[None]] = [hub.begin_stop() for hub in started if not hub.is_stopped]
    for ending in endings:
        ending.result(30)


@pytest.fixture
def hub(start_hub: Callable[..., Hub]) -> Hub:
    return start_hub()


@pytest.fixture(scope="module")
def shared_hub(loop_thread: LoopThread) -> Iterator[Hub]:
    hub = OneLoop(loop_thread)
    yield hub
    hub.begin_stop().result(30)
