"""Hubs with pages, and people who look at them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, expect

from tests import prepared
from tests.browser.story import day_of
from tests.browser.watched import WatchedPage
from tests.hub_process import ADMIN_KEY, HubProcess

BEAT_MS = 200
QUICK = {"late_after": "500ms", "down_after": "3s", "heartbeat_interval": f"{BEAT_MS}ms"}
TAKEOVER = {"takeover": "answer", "takeover_budget_day": "2", "takeover_budget_month": "20"}
STORY_HOURS = 5


def link_of(hub: HubProcess, scope: str = "admin") -> str:
    """A login link, as `understudy login-link` gets it."""
    answer = hub.post("/api/login-links", {"scope": scope}, key=ADMIN_KEY)
    return f"{hub.url}{answer['path']}"


def printed_link(hub: HubProcess, scope: str = "read") -> str:
    """The last line of `understudy login-link`."""
    said = hub.data_dir.with_name("login-link.txt")
    with said.open("wb") as out:
        program = prepared.start(["login-link", "--scope", scope], env=hub.env, stdout=out, stderr=out)
    assert program.wait(60) == 0, said.read_text()
    return said.read_text().splitlines()[-1]


def log_in(watched: WatchedPage, hub: HubProcess, scope: str = "admin") -> Page:
    """Home, as somebody sees it who has followed a link."""
    page = watched.goto(link_of(hub, scope))
    assert page.url == f"{hub.url}/"
    return page


def shows(page: Page, daemon_id: str, state: str) -> None:
    """Wait until the page says so."""
    expect(page.locator(f'[data-daemon="{daemon_id}"][data-state="{state}"]')).to_be_visible()


@contextmanager
def hub_with_a_day(folder: Path, lang: str = "en", hours: int = STORY_HOURS, **settings: Any) -> Iterator[HubProcess]:
    """A hub that starts where the story ends; it calls nobody."""
    hub = HubProcess(folder / "hub", **TAKEOVER, **settings)
    hub.environ["ANTHROPIC_API_KEY"] = "sk-ant-nobody"
    hub.environ["ANTHROPIC_BASE_URL"] = "http://127.0.0.1:9"
    hub.environ["NTFY_URL"] = "http://127.0.0.1:9/understudy-of-aiko"
    hub.environ["UNDERSTUDY_WEBHOOK_URL"] = "http://127.0.0.1:9/hook"
    hub.data_dir.mkdir(parents=True)
    day_of(hub.data_dir / "hub.db", lang, hours)
    try:
        yield hub.start()
    finally:
        hub.close()
