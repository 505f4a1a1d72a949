"""The plots as a browser draws them: in a theme and a language, with their tables by keyboard, also after a push."""

from __future__ import annotations

import re
from typing import Any

from playwright.sync_api import expect

from tests.api.conftest import endings, hub, loop_thread, start_hub
from tests.api.hubs import MINUTE, Hub
from tests.browser import axe_core
from tests.browser.watched import Look
from tests.dashboard.conftest import login_link
from tests.waiting import eventually
from understudy.coordinator.samples import Sample
from understudy.dashboard.pages.numbers import PLOTS

__all__ = ["endings", "hub", "loop_thread", "start_hub"]
PHONE = Look(lang="ja", theme="dark", width=360, height=740)
DRAWN = """
(count) => [...document.querySelectorAll('.chart canvas')].filter((canvas) => canvas.width > 100).length === count
"""


def test_every_plot_is_drawn_and_its_table_opens_by_keyboard(hub: Hub, open_page: Any) -> None:
    rows = [Sample(hub.now - n * MINUTE, n, 2, 0, 6, 9, 4, 40, 25) for n in range(60)]
    hub.store.transaction(lambda tx: tx.save_many(rows))
    watched = open_page(f"http://127.0.0.1:{hub.port}", PHONE)
    axe_core.bring(watched.context)
    watched.goto(login_link(hub, "read"))
    page = watched.goto("/numbers")
    eventually(lambda: page.evaluate(DRAWN, len(PLOTS)), what="all plots")
    expect(page.locator(".u-legend").first).to_contain_text("待機中")
    page.locator("summary").first.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("region").first).to_have_attribute("aria-label", re.compile("キュー"))
    page.evaluate(
        "document.querySelector('[data-live=numbers]').dispatchEvent(new CustomEvent('shown', {bubbles: true}))"
    )
    page.get_by_text("過去 1 か月").click()
    page.wait_for_url("**/numbers?span=month")
    eventually(lambda: page.evaluate(DRAWN, len(PLOTS)), what="all plots")
    assert axe_core.violations(page) == []


def test_a_row_of_the_month_names_the_instant_at_which_its_day_begins(hub: Hub, open_page: Any) -> None:
    watched = open_page(f"http://127.0.0.1:{hub.port}")
    watched.goto(login_link(hub, "read"))
    page = watched.goto("/numbers?span=month")
    page.locator("summary").first.click()
    row = page.locator("#table-queue time[datetime^='2026-02-01T']")
    expect(row).to_have_text(re.compile(r"Feb.*\b09:00"))
