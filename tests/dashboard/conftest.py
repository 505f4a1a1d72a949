"""Hubs with pages, and browsers that look at them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import pytest

from tests.api.conftest import endings, hub, kept_store, loop_thread, shared_hub, start_hub
from tests.api.hubs import Hub
from tests.dashboard.browser import Browser
from tests.stores import backend, backend_of_all, on_both, pool

__all__ = [
    "backend",
    "backend_of_all",
    "endings",
    "hub",
    "kept_store",
    "loop_thread",
    "pool",
    "shared_hub",
    "start_hub",
]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    on_both(metafunc, {})  # only where everything is asked for, by `--store=postgres`


@pytest.fixture
def open_browser() -> Iterator[Callable[..., Browser]]:
    """Opens browsers on a hub, logged in with a scope, or with "" not at all; they close with the test."""
    with opened_browsers() as open_one:
        yield open_one


@contextlib.contextmanager
def opened_browsers() -> Iterator[Callable[..., Browser]]:
    """As `open_browser`, for a fixture of another scope."""
    opened: list[Browser] = []

    def open_one(hub: Hub, scope: str = "admin", **headers: str) -> Browser:
        browser = Browser(hub.port, **headers)
        opened.append(browser)
        if scope:
            assert browser.get(login_link(hub, scope)).status == 303
        return browser

    yield open_one
    for browser in opened:
        browser.close()


def login_link(hub: Hub, scope: str = "admin") -> str:
    """The path of a fresh link."""
    path: str = hub.post("/api/login-links", {"scope": scope}, key="admin-key-of-the-tests").of(201)["path"]
    return path


@pytest.fixture
def admin(hub: Hub, open_browser: Callable[..., Browser]) -> Browser:
    """A browser that may do everything."""
    return open_browser(hub)


@pytest.fixture
def reader(hub: Hub, open_browser: Callable[..., Browser]) -> Browser:
    """A browser that may look."""
    return open_browser(hub, "read")
