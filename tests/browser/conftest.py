"""One browser for all tests of this folder, a fresh context for each page; Chromium's profile is gone with it.

Playwright's loop is "running" in its thread until it stops, so it stops with the last test of the folder: others of
the same process use asyncio.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from tests.browser import chromium
from tests.browser.visits import hub_with_a_day
from tests.browser.watched import DESKTOP, PATIENCE_MS, Look, WatchedPage
from tests.hub_process import HubProcess, running_hub

FLAGS = ("--no-sandbox", "--disable-gpu", "--in-process-gpu")
IS_REQUIRED, IS_OFF = chromium.is_required(), chromium.is_off()  # before the tests' own environment is made
MakeHub = Callable[..., AbstractContextManager[HubProcess]]
StartHub = Callable[..., HubProcess]
OpenPage = Callable[..., WatchedPage]


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """Chromium; without one the test is skipped, or fails where it is required."""
    if IS_OFF:
        pytest.skip("UNDERSTUDY_BROWSER_TESTS=off")
    found = chromium.find()
    if not found:
        (pytest.fail if IS_REQUIRED else pytest.skip)("no Chromium: `python tests/browser/chromium.py`")
    expect.set_options(timeout=PATIENCE_MS)
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory(prefix="") as short:
        patch.setenv("TMPDIR", short)  # it holds a socket, whose path has at most 103 bytes
        with sync_playwright() as driver:
            running = driver.chromium.launch(executable_path=found, args=FLAGS)
            yield running
            running.close()


@pytest.fixture(scope="package")
def day(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubProcess]:
    """A hub with a day behind it, for all who look and change little."""
    with hub_with_a_day(tmp_path_factory.mktemp("day"), "ja", late_after="1h", down_after="2h") as hub:
        yield hub


@pytest.fixture
def start_hub(tmp_path: Path) -> Iterator[StartHub]:
    """`start_hub(late_after="1s")`: a real hub; `start_hub(hub_with_a_day)`: one with rows. It outlives the pages."""
    with contextlib.ExitStack() as stack:

        def start(make: MakeHub = running_hub, **settings: Any) -> HubProcess:
            return stack.enter_context(make(tmp_path, **settings))

        yield start


@pytest.fixture
def open_page(browser: Browser, start_hub: StartHub) -> Iterator[OpenPage]:
    """`open_page(origin, PHONE)`: a page that is watched; at the end of the test it must be without fault."""
    opened: list[WatchedPage] = []

    def open_one(origin: str, look: Look = DESKTOP) -> WatchedPage:
        opened.append(WatchedPage(browser, origin, look))
        return opened[-1]

    yield open_one
    faults = [fault for watched in opened for fault in watched.finish()]
    assert not faults, "\n".join(faults)
