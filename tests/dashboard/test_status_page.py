"""The status page: off until it is switched on; states and incidents, and nothing of the work."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from tests.api.hubs import FailingStore, Hub, set_failing
from tests.dashboard.browser import SECURITY, Browser
from understudy.api.auth import RateLimit
from understudy.config.table import Settings
from understudy.dashboard.status_page import KEPT_MS, StatusApp
from understudy.hub.public_status import PublicStatus

Start = Callable[..., Hub]
Open = Callable[..., Browser]
BAD = "<img src=x onerror=alert(1)>\u202egnp"


def look(hub: Hub, browser: Browser, path: str = "/status") -> str:
    """What it says when nothing is kept from before."""
    hub.advance(KEPT_MS)
    seen = browser.get(path)
    assert seen.status == 200
    return seen.text


def test_it_is_off_until_it_is_switched_on(hub: Hub, open_browser: Open) -> None:
    for scope in ("", "admin"):
        assert open_browser(hub, scope).get("/status", Accept="text/html").status == 404


def test_it_says_states_and_incidents_by_number(start_hub: Start, open_browser: Open) -> None:
    hub = start_hub(settings=Settings(status_page="on"))
    stranger = open_browser(hub, "")
    assert "No daemon yet" in look(hub, stranger)
    hub.beat("secret-name")
    hub.enqueue("secret-task", content="secret words")
    assert "All is well" in look(hub, stranger)
    hub.advance(301_000)
    text = look(hub, stranger)
    assert 'data-worst="down"' in text
    assert "Daemon 1" in text
    assert set(re.findall(r'<use href="#([^"]+)"', text)) <= set(re.findall(r'<symbol id="([^"]+)"', text))
    assert "lasts" in text
    hub.beat("secret-name")
    text = look(hub, stranger)
    assert "All is well" in text
    assert "lasts" not in text
    assert "Down" in text, "the incident is still there"
    assert "secret" not in text


def test_all_who_look_while_it_is_read_share_that_read(hub: Hub) -> None:
    """Many look at once when something is down: no read for each of them, and nobody is refused."""
    limit = RateLimit(hub.clock, per_s=1, burst=1)
    site: Any = SimpleNamespace(api=SimpleNamespace(hub=hub.runtime, limit=limit))
    app = StatusApp(site, with_names=False)

    async def look_at_once() -> list[PublicStatus]:
        return await asyncio.gather(*(app._status() for _ in range(50)))

    seen = hub.thread.run(look_at_once())
    assert all(one is seen[0] for one in seen)


def test_a_status_that_cannot_be_read_is_read_again_by_the_next_who_looks(start_hub: Start, open_browser: Open) -> None:
    hub = start_hub(settings=Settings(status_page="on"), wrap=FailingStore)
    stranger = open_browser(hub, "")
    set_failing(hub, is_failing=True)
    assert stranger.get("/status").status == 503
    set_failing(hub, is_failing=False)
    assert stranger.get("/status").status == 200


def test_ids_are_shown_only_if_the_setting_says_so(start_hub: Start, open_browser: Open) -> None:
    hub = start_hub(settings=Settings(status_page="ids"))
    hub.beat("mini")
    hub.beat(BAD)
    text = look(hub, open_browser(hub, ""))
    assert "mini" in text
    assert "<img" not in text
    assert "\u202e" not in text


@pytest.mark.parametrize("scope", ["", "read", "admin"])
def test_it_is_a_safe_page_without_acts_for_everybody(start_hub: Start, open_browser: Open, scope: str) -> None:
    hub = start_hub(settings=Settings(status_page="on"))
    seen = open_browser(hub, scope).get("/status")
    for name, value in SECURITY.items():
        assert seen.headers[name].startswith(value)
    assert seen.headers["x-robots-tag"] == "noindex"
    assert seen.acts == []
    assert seen.token == "", "no login is looked at"
    assert open_browser(hub, "").get("/status").cookies == []


def test_it_is_in_both_languages(start_hub: Start, open_browser: Open) -> None:
    hub = start_hub(settings=Settings(status_page="on"))
    hub.beat()
    assert "すべて正常" in look(hub, open_browser(hub, "", Accept_Language="ja"))
    assert "すべて正常" in look(hub, open_browser(hub, ""), "/status?lang=ja")


def test_many_who_look_cost_one_read(start_hub: Start, open_browser: Open) -> None:
    hub = start_hub(settings=Settings(status_page="on"), per_s=1, burst=10)
    stranger = open_browser(hub, "")
    assert [stranger.get("/status").status for _ in range(50)] == [200] * 50
