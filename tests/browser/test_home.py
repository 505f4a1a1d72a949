"""Home, as somebody sees it who never reloads the page."""

from __future__ import annotations

import re

from playwright.sync_api import Page, expect

from tests.browser import axe_core
from tests.browser.visits import BEAT_MS, QUICK, log_in, printed_link, shows
from tests.browser.watched import DESKTOP, PHONE
from tests.daemon.live import living
from tests.hub_process import KEY

AWAY = ("ERR_CONNECTION_REFUSED", "ERR_CONNECTION_RESET", "ERR_INCOMPLETE_CHUNKED_ENCODING", "ERR_EMPTY_RESPONSE")
TABS_MAX = 80
FOCUSED = """
() => {
  const node = document.activeElement, style = getComputedStyle(node);
  const isMarked = node.namespaceURI.endsWith("svg") ? style.stroke !== "none"
    : style.outlineStyle !== "none" && parseFloat(style.outlineWidth) > 0 || style.boxShadow !== "none";
  return {name: node.tagName, text: node.textContent.trim().slice(0, 40), isMarked};
}
"""


def mark(page: Page) -> None:
    page.evaluate("window.isTheSamePage = true")


def assert_same(page: Page) -> None:
    assert page.evaluate("window.isTheSamePage") is True, "the page was loaded anew"


def test_link_logs_in_once(start_hub, open_page):
    hub = start_hub()
    link = printed_link(hub)
    page = open_page(hub.url).goto(link)
    assert page.url == f"{hub.url}/"
    expect(page.locator("html")).to_have_attribute("lang", "en")
    page.reload()
    assert page.url == f"{hub.url}/"
    second = open_page(hub.url)
    second.expects("401")
    expect(second.goto(link).locator("[data-daemon]")).to_have_count(0)
    assert second.goto("/").url == f"{hub.url}/login"


def test_killed_daemon_turns_late_down_and_back_without_a_reload(start_hub, open_page, tmp_path):
    hub = start_hub(**QUICK)
    page = log_in(open_page(hub.url), hub, "read")
    mark(page)
    icon = page.locator("link[rel=icon]")
    quiet_title, quiet_icon = page.title(), icon.get_attribute("href") or ""
    given = {"api_key": KEY, "heartbeat_interval_ms": BEAT_MS}
    with living(hub.url, tmp_path / "mini", "cat", **given) as daemon:
        shows(page, "mini", "healthy")
        daemon.kill()
        shows(page, "mini", "late")
        shows(page, "mini", "down")
        expect(page).not_to_have_title(quiet_title)
        expect(icon).not_to_have_attribute("href", quiet_icon)
    with living(hub.url, tmp_path / "mini", "cat", **given):
        shows(page, "mini", "healthy")
        assert_same(page)


def test_page_says_that_it_is_stale_and_comes_back_by_itself(start_hub, open_page):
    hub = start_hub()
    watched = open_page(hub.url, PHONE)
    for said in AWAY:
        watched.expects(said)
    watched.page.clock.install()  # so that nobody waits for the page to lose its patience
    page = log_in(watched, hub)
    stale = page.locator("#stale")
    expect(stale).to_be_hidden()
    hub.kill()
    page.clock.fast_forward("01:00")
    expect(stale).to_be_visible()
    expect(stale).to_contain_text(re.compile(r"\d:\d\d"))
    hub.start()
    expect(stale).to_be_hidden()
    hub.post("/api/queue", {"content": "wait for somebody"})
    expect(page.locator("[data-queue='1']")).to_be_visible()


def test_keyboard_alone_reaches_and_acknowledges_an_incident(day, open_page):
    page = log_in(open_page(day.url), day)
    shows(page, "office-nuc", "late")
    seen = [tab(page)]
    while not page.evaluate("document.activeElement.matches('[data-incident] button')"):
        seen.append(tab(page))
        assert len(seen) < TABS_MAX, seen
    assert [focused for focused in seen if not focused["isMarked"]] == []
    buttons = page.locator("[data-incident] button")
    before = buttons.count()
    page.keyboard.press("Enter")
    expect(buttons).to_have_count(before - 1)


def tab(page: Page) -> dict[str, object]:
    page.keyboard.press("Tab")
    focused: dict[str, object] = page.evaluate(FOCUSED)
    return focused


def test_language_is_the_browsers_until_somebody_switches_it(start_hub, open_page):
    hub = start_hub()
    page = log_in(open_page(hub.url, PHONE._replace(lang="ja", theme="dark")), hub)
    html = page.locator("html")
    expect(html).to_have_attribute("lang", "ja")
    page.get_by_role("link", name="English").click()
    expect(html).to_have_attribute("lang", "en")
    page.wait_for_load_state()  # of the page in the other language: a visit during its coming would end it
    page.goto(hub.url)
    expect(html).to_have_attribute("lang", "en")
    page.get_by_role("link", name="日本語").click()
    expect(html).to_have_attribute("lang", "ja")


def test_wrong_and_right_key_in_the_form_lead_to_pages_for_everybody(start_hub, open_page):
    hub = start_hub()
    watched = open_page(hub.url, DESKTOP)
    watched.expects("401")
    axe_core.bring(watched.context)
    page = watched.goto("/")
    for key, place in (("wrong", "/login"), (KEY, "/")):
        assert axe_core.violations(page) == []
        page.locator("input[name=key]").fill(key)
        page.locator("input[name=key]").press("Enter")
        page.wait_for_url(f"{hub.url}{place}")
        expect(page.locator("[role=alert]")).to_have_count(int(place == "/login"))
    assert axe_core.violations(page) == []
