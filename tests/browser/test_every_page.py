"""What holds for every page, the next one included: pages are found by walking along the links."""

from __future__ import annotations

import pytest
from playwright.sync_api import Route, expect

from tests.browser import axe_core
from tests.browser.hostile import NAMES, hub_of_hostile_names
from tests.browser.visits import log_in
from tests.browser.walk import pages_of
from tests.browser.watched import DESKTOP, PHONE
from tests.waiting import eventually

FIRST_BYTES_MAX = 100_000
WEIGHT = """
() => [...performance.getEntriesByType("navigation"), ...performance.getEntriesByType("resource")]
  .filter((entry) => entry.initiatorType !== "other" || entry.entryType === "navigation")
  .reduce((sum, entry) => sum + entry.transferSize, 0)
"""
# Headings, labels and buttons without one Japanese letter; names and code are nobody's language.
UNTRANSLATED = r"""
() => [...document.querySelectorAll("h1, h2, h3, th, dt, label, button, legend, nav a, summary")]
  .filter((node) => !node.matches("bdi, code, [lang]") && !node.querySelector("bdi, code"))
  .map((node) => node.textContent.trim())
  .filter((text) => /[A-Za-z]{2}/.test(text) && !/[\u3040-\u30ff\u4e00-\u9fff]/.test(text))
"""
# What somebody reads or hears; ids as they are stand in attributes that only programs read.
READ = """
() => {
  const texts = [document.title], walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) texts.push(walker.currentNode.data);
  for (const node of document.querySelectorAll("[title], [aria-label], [alt], [placeholder]"))
    texts.push(node.title, node.getAttribute("aria-label"), node.getAttribute("alt"), node.getAttribute("placeholder"));
  return texts.join("\\n");
}
"""
# Of what stands on a page how far down it stands, and of what stands beside a time how far to the right; the same at
# the moment at which the scripts have run.
PLACES = """
window.places = () => [...document.querySelectorAll("main :is(section, article, p, li, dd, strong, [data-pause-note])")]
  .map((node) => [node, node.getBoundingClientRect(), node.matches("strong, [data-pause-note]")])
  .map(([node, {x, y}, isBeside]) => [node.tagName, Math.round(y), isBeside ? Math.round(x) : 0]);
addEventListener("DOMContentLoaded", () => { window.placesThen = places(); });
"""
KEYS = r"() => document.body.innerText.match(/\bpages\.[a-z_]+(\.[a-z_]+)*/g) ?? []"


def test_axe_finds_nothing_on_any_page_in_either_theme(day, open_page):
    watched = open_page(day.url, DESKTOP)
    axe_core.bring(watched.context)
    log_in(watched, day)
    found: list[str] = []
    for _, page in pages_of(watched):
        found += axe_core.violations(page)
        page.emulate_media(color_scheme="dark")
        found += axe_core.violations(page, "color-contrast")
        page.emulate_media(color_scheme="light")
    assert not found, "\n".join(found)


def test_every_page_on_a_phone_in_japanese_for_who_may_only_read(day, open_page):
    watched = open_page(day.url, PHONE._replace(lang="ja", theme="dark"))
    policies: list[tuple[str, str]] = []
    watched.page.on(
        "response",
        lambda answer: (
            answer.request.is_navigation_request()
            and policies.append((answer.url, answer.headers.get("content-security-policy", "")))
        ),
    )
    home = log_in(watched, day, "read")
    assert 0 < home.evaluate(WEIGHT) < FIRST_BYTES_MAX
    for name, page in pages_of(watched):
        expect(page.locator("html"), name).to_have_attribute("lang", "ja")
        assert page.evaluate(UNTRANSLATED) == [], name
        assert page.evaluate(KEYS) == [], name
        acts = page.locator("[formaction], form[method=post]:not([action='/logout']):not(#act)")
        expect(acts, name).to_have_count(0)
    loose = [url for url, policy in policies if "default-src" not in policy or "unsafe" in policy]
    assert loose == []


@pytest.mark.parametrize("look", [PHONE._replace(lang="ja"), DESKTOP], ids=str)
@pytest.mark.parametrize(("path", "part"), [("/notices", "[data-channel]"), ("/log", "[data-event]")])
def test_nothing_moves_when_times_become_the_viewers(day, open_page, look, path, part):
    """On a busy machine a page is seen before its scripts have run."""
    watched = open_page(day.url, look)
    log_in(watched, day)
    held: list[Route] = []
    watched.page.add_init_script(PLACES)
    watched.page.route("**/*.js*", lambda route: held.append(route))  # noqa: PLW0108 - it is given an attribute
    watched.page.goto(f"{day.url}{path}", wait_until="commit")
    instant = watched.page.locator(f"{part} time").first
    expect(instant).to_contain_text("UTC")
    eventually(lambda: watched.page.evaluate("document.readyState") == "interactive", what="all of it, without scripts")
    watched.check()  # it is drawn
    before = watched.page.evaluate("places()")
    for route in held:
        route.continue_()
    expect(instant).not_to_contain_text("UTC")
    watched.page.wait_for_load_state("domcontentloaded")  # a script may change the first time before it
    assert len(before) > 10
    assert watched.page.evaluate("placesThen") == before


def test_names_and_texts_of_an_attacker_are_only_text(start_hub, open_page):
    hub = start_hub(hub_of_hostile_names)
    watched = open_page(hub.url, PHONE)
    log_in(watched, hub)
    for name, page in pages_of(watched):
        read = page.evaluate(READ)
        assert [sign for sign in NAMES.signs if sign in read] == [], name
        assert page.evaluate("document.querySelectorAll('main img, main b, main script, main iframe').length") == 0
