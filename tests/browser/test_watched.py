"""The tests' own eyes: each kind of fault is seen, and a page without one passes."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.browser import axe_core
from tests.browser.watched import DESKTOP, WatchedPage
from tests.waiting import eventually

ORIGIN = "http://hub.test"
HEAD = "<!doctype html><html lang=en><title>page</title><link rel=icon href=data:,><main><h1>words</h1>"
POLICY = {"Content-Security-Policy": "default-src 'self' 'unsafe-inline' http://elsewhere.test; style-src 'self'"}
WRONG = """
<p style='color:red'>red</p>
<img src=/missing.png alt=x width=9 height=9>
<img src=http://elsewhere.test/x.png alt=x width=9 height=9>
<script>console.error('oh')</script>
<script>document.querySelector('h1').style.width = '1500px'; throw new Error('no')</script>
"""
SAID = (
    "refused by the policy: style-src-attr",
    "404",
    "a request leaves the hub: GET http://elsewhere.test/x.png",
    "console: oh",
    "script error: no",
    "too wide",
)


@pytest.fixture
def page(browser) -> Iterator[WatchedPage]:
    watched = WatchedPage(browser, ORIGIN, DESKTOP)
    yield watched
    watched.context.close()


def show(watched: WatchedPage, content: str, headers: dict[str, str] | None = None) -> None:
    watched.context.route("**/*", lambda route: route.fulfill(status=404))
    page = {"content_type": "text/html", "body": HEAD + content, "headers": headers or {}}
    watched.context.route(f"{ORIGIN}/", lambda route: route.fulfill(**page))
    watched.goto("/")


def test_each_fault_is_seen_unless_it_is_expected(page):
    show(page, WRONG, POLICY)

    def is_all_seen() -> bool:
        page.page.wait_for_timeout(10)  # what the browser says arrives meanwhile
        return all(said in "\n".join(page.found()) for said in SAID)

    eventually(is_all_seen, what=f"each of {SAID}")
    page.expects("")
    assert page.finish() == []


def test_content_that_moves_is_seen_and_axe_finds_what_is_unreadable(page):
    axe_core.bring(page.context)
    show(page, "<p id=below style='height:400px;color:#ccc'>pale")
    assert page.found() == []
    (pale,) = axe_core.violations(page.page)
    assert "color-contrast" in pale
    assert axe_core.violations(page.page, "image-alt") == []
    page.page.evaluate("""below.insertAdjacentHTML("beforebegin", "<div style='height:200px'></div>")""")
    (moved,) = page.finish()
    assert re.search(r"content moved by .*pale", moved)


def test_what_moves_by_the_answer_to_a_form_is_no_fault(page):
    show(page, "<form id=f onsubmit='event.preventDefault()'></form><p id=below style='height:400px'>dark")
    page.page.evaluate(
        """f.requestSubmit(); below.insertAdjacentHTML("beforebegin", "<div style='height:200px'></div>")"""
    )
    assert page.finish() == []
