"""The log as somebody reads it who scrolls, pauses and opens lines while new ones come."""

from __future__ import annotations

from typing import Any

from playwright.sync_api import Locator, Page, expect

from tests.api.conftest import endings, hub, loop_thread, start_hub
from tests.api.hubs import Hub
from tests.browser import axe_core
from tests.browser.watched import PHONE
from tests.dashboard.conftest import login_link

__all__ = ["endings", "hub", "loop_thread", "start_hub"]
LINES = 60


def first(page: Page) -> Locator:
    return page.locator("[data-event]").first


def test_the_log_pauses_by_button_by_scrolling_and_where_a_line_is_opened(hub: Hub, open_page: Any) -> None:
    for n in range(LINES):
        hub.enqueue(f"old-{n}")
    watched = open_page(f"http://127.0.0.1:{hub.port}", PHONE)
    axe_core.bring(watched.context)
    watched.goto(login_link(hub))
    page = watched.goto("/log")
    button, note = page.locator("[data-pause]"), page.locator("[data-pause-note]")
    hub.enqueue("live-1")
    expect(first(page)).to_contain_text("live-1")

    button.click()
    hub.enqueue("live-2")
    expect(note).to_have_text("Paused; there are new lines.")
    expect(first(page)).to_contain_text("live-1")
    button.click()
    expect(first(page)).to_contain_text("live-2")

    page.evaluate("scrollTo(0, 1500)")
    expect(note).to_have_text("Paused.")
    hub.enqueue("live-3")
    expect(note).to_have_text("Paused; there are new lines.")
    page.evaluate("scrollTo(0, 0)")
    expect(first(page)).to_contain_text("live-3")
    expect(note).to_have_text("New lines come at the top.")

    page.locator(".log summary").first.click()
    expect(note).to_have_text("Paused.")
    assert axe_core.violations(page) == []


def test_a_line_has_its_address_and_a_search_is_followed(hub: Hub, open_page: Any) -> None:
    for n in range(LINES):
        hub.enqueue(f"old-{n}")
    watched = open_page(f"http://127.0.0.1:{hub.port}", PHONE)
    watched.goto(login_link(hub, "read"))
    page = watched.goto("/log")
    row = page.locator("[data-event]", has_text="old-9 queued")
    row.locator("a[href^='/log?around=']").click()
    found = page.locator("li[aria-current]")
    expect(found).to_be_in_viewport()
    expect(found).to_contain_text("[INFO] [TaskQueue] Task old-9 queued taskId=old-9")

    page = watched.goto("/log")
    page.locator("#search").fill("OLD-5")
    page.locator("#search").press("Enter")
    page.wait_for_url("**/log?search=OLD-5*")
    expect(page.locator("[data-event]")).to_have_count(1 + 10)
    hub.enqueue("new")
    hub.enqueue("old-5x")
    expect(first(page)).to_contain_text("old-5x")
    expect(page.locator("[data-event]")).to_have_count(12)
