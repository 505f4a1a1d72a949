"""Hubs that a test starts, and their end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future

import pytest

from tests.api.hubs import Hub, KeptStore, LoopThread
from tests.stores import backend, backend_of_all, on_both, pool

__all__ = ["backend", "backend_of_all", "pool"]
# What asks for state and time; the others ask for form, which is the same whatever keeps the rows.
ON_BOTH = {
    "test_claims": (),
    "test_conversations": (),
    "test_directives": (),
    "test_enqueue": (),
    "test_events": (),
    "test_fencing": (),
    "test_heartbeats": (),
    "test_keys": (),
    "test_losses": (),
    "test_queue": (),
    "test_results": (),
    "test_searches": (),
    "test_shares": (),
    # each second of a hub is a transaction, so of many tests of minutes some
    "test_silence": ("to_the_millisecond", "hub_suspect", "grace_after", "two_seconds", "lease_keeps"),
    "test_tasks": (),
}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    on_both(metafunc, ON_BOTH)


@pytest.fixture(scope="session")
def loop_thread() -> Iterator[LoopThread]:
    thread = LoopThread()
    yield thread
    thread.close()


@pytest.fixture(scope="session")
def endings(loop_thread: LoopThread) -> Iterator[list[Future[None]]]:
    """The ends of hubs, awaited once: each takes a moment in which the next test can run."""
    begun: list[Future[None]] = []
    yield begun
    for ending in begun:
        ending.result(120)


@pytest.fixture
def start_hub(loop_thread: LoopThread, endings: list[Future[None]]) -> Iterator[Callable[..., Hub]]:
    """Starts hubs; they end with the test."""
    started: list[Hub] = []

    def start(**settings: object) -> Hub:
        started.append(Hub(loop_thread, **settings))  # type: ignore[arg-type]
        return started[-1]

    yield start
    endings += [hub.begin_stop() for hub in started if not hub.is_stopped]


@pytest.fixture
def kept_store() -> Iterator[KeptStore]:
    """A store that hubs have one after the other; it closes with the last of them."""
    store = KeptStore()
    yield store
    store.close_for_good()


@pytest.fixture
def hub(start_hub: Callable[..., Hub]) -> Hub:
    """A fresh hub with an empty store in memory."""
    return start_hub()


@pytest.fixture(scope="module")
def shared_hub(loop_thread: LoopThread, endings: list[Future[None]]) -> Iterator[Hub]:
    """One hub for all tests of a module: for those that ask about form, not about state."""
    hub = Hub(loop_thread)
    yield hub
    endings.append(hub.begin_stop())
