"""The plots as a browser draws them: in a theme and a language, with their tables by keyboard, also after a push."""

from __future__ import annotations

from typing import Any

from tests.api.conftest import endings, hub, loop_thread, start_hub
from tests.api.hubs import MINUTE, Hub
from tests.browser import axe_core
from tests.browser.watched import Look
from tests.dashboard.conftest import login_link
from understudy.coordinator.samples import Sample
from understudy.dashboard.pages.numbers import PLOTS

__all__ = ["endings", "hub", "loop_thread", "start_hub"]
PHONE = Look(lang="ja", theme="dark", width=360, height=740)
DRAWN = "() => [...document.querySelectorAll('.chart canvas')].filter((canvas) => canvas.width > 100).length"


def test_every_plot_is_drawn_and_its_table_opens_by_keyboard(hub: Hub, open_page: Any) -> None:
    rows = [Sample(hub.now - n * MINUTE, n, 2, 0, 6, 9, 4, 40, 25) for n in range(60)]
    hub.store.transaction(lambda tx: tx.save_many(rows))
    watched = open_page(f"http://127.0.0.1:{hub.port}", PHONE)
    axe_core.bring(watched.context)
    watched.goto(login_link(hub, "read"))
    page = watched.goto("/numbers")
    assert page.evaluate(DRAWN) == len(PLOTS)
    assert "待ち" in page.locator(".u-legend").first.inner_text()
    page.locator("summary").first.focus()
    page.keyboard.press("Enter")
    assert "キュー" in page.get_by_role("region").first.get_attribute("aria-label")
    page.evaluate(
        "document.querySelector('[data-live=numbers]').dispatchEvent(new CustomEvent('shown', {bubbles: true}))"
    )
    page.get_by_text("過去 1 か月").click()
    page.wait_for_url("**/numbers?span=month")
    assert page.evaluate(DRAWN) == len(PLOTS)
    assert axe_core.violations(page) == []
