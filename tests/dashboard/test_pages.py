"""What holds for every page, and for the next one too: all routes are walked."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from html import unescape
from pathlib import Path
from urllib.parse import quote

import pytest
from msgspec.structs import replace

from tests.api.hubs import Hub
from tests.dashboard.browser import SECURITY, Browser
from tests.dashboard.conftest import opened_browsers
from understudy import dashboard
from understudy.api.app import ENDPOINTS
from understudy.dashboard.frame import NAVIGATION
from understudy.dashboard.language import language_of
from understudy.dashboard.page import Act, Page
from understudy.dashboard.pages import ACTS, PAGES
from understudy.dashboard.safety import is_ahead_of_time, is_from_us, own_path
from understudy.dashboard.static_files import static_files, static_path
from understudy.texts import catalogue

Open = Callable[..., Browser]
Start = Callable[..., Hub]
TEMPLATES = Path(dashboard.__file__).parent / "templates"
IDS = {"task_id": "t1", "incident_id": "incident-1", "daemon_id": "mini", "daemon_id:path": "mini", "key_id": "key-1"}


def filled(path: str) -> str:
    """The address of something that may exist."""
    return re.sub(r"{([\w:]+)}", lambda found: IDS.get(found.group(1), "x1"), path)


@pytest.fixture(scope="module")
def lived_in(shared_hub: Hub) -> Hub:
    """A hub with a daemon, a task and an incident, for tests that look or are refused."""
    shared_hub.beat()
    shared_hub.enqueue("t1")
    shared_hub.advance(181_000)
    return shared_hub


@pytest.fixture(scope="module")
def logged_in(lived_in: Hub) -> Iterator[dict[str, Browser]]:
    """Browsers on that hub by the scope of their session; "" has none."""
    with opened_browsers() as open_one:
        yield {scope: open_one(lived_in, scope) for scope in ("admin", "read", "")}


by_name = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
acts = pytest.mark.parametrize("act", ACTS, ids=lambda act: act.name)


@by_name
def test_every_page_is_safe_to_look_at(logged_in: dict[str, Browser], page: Page) -> None:
    seen = logged_in["admin"].get(filled(page.path))
    assert seen.status == 200, seen.text[:300]
    for name, value in SECURITY.items():
        assert seen.headers[name].startswith(value)
    assert "unsafe" not in seen.headers["content-security-policy"]
    assert "frame-ancestors 'none'" in seen.headers["content-security-policy"]
    assert seen.headers["cache-control"] == "no-store"


@by_name
def test_no_page_has_code_or_style_in_it(logged_in: dict[str, Browser], page: Page) -> None:
    text = logged_in["admin"].get(filled(page.path)).text
    assert not re.search(r"<style|\sstyle=|\son\w+=|javascript:|<script(?![^>]* src=)", text)
    assert not re.search(r'(?:src|href|action)="(?:https?:)?//', text)


def test_no_link_depends_on_the_address_that_its_page_has() -> None:
    """A form that was refused is shown at its own address."""
    texts = {path.name: path.read_text() for path in TEMPLATES.rglob("*.html")}
    found = {name: re.findall(r'(?:href|action|src)="(?![/#]|{{)[^"]*', text) for name, text in texts.items()}
    assert {name: links for name, links in found.items() if links} == {}
    assert len(found) > len(PAGES)


@by_name
@pytest.mark.parametrize("language", ["en", "ja"])
def test_every_page_is_in_both_languages(logged_in: dict[str, Browser], page: Page, language: str) -> None:
    text = logged_in["admin"].get(filled(page.path), Accept_Language=language).text
    assert f'<html lang="{language}">' in text
    assert catalogue(language)[f"pages.{page.name}.title"] in text


@by_name
def test_no_page_is_shown_without_a_session(logged_in: dict[str, Browser], page: Page) -> None:
    stranger, path = logged_in[""], filled(page.path)
    assert stranger.get(path).location.startswith("/login")
    assert stranger.stream(path).next()[0] == "over"
    assert stranger.get(path, X_API_Key="admin-key-of-the-tests").status == 303, "pages know sessions only"


@by_name
def test_a_page_shows_no_act_to_who_may_only_look(logged_in: dict[str, Browser], page: Page) -> None:
    reader, path = logged_in["read"], filled(page.path)
    seen = reader.get(path)
    assert seen.status == (200 if "read" in page.scopes else 403)
    assert seen.acts == []
    assert set(re.findall(r'<form method="post"[^>]* action="([^"]*)"', seen.text)) <= {"/logout"}


@acts
def test_who_may_only_look_can_do_nothing(logged_in: dict[str, Browser], act: Act) -> None:
    answer = logged_in["read"].act(filled(act.path), **dict.fromkeys(act.fields, "1"))
    assert answer.status == 403
    assert "read" not in act.endpoint.scopes


@acts
def test_an_act_without_its_own_token_is_refused(
    lived_in: Hub, open_browser: Open, logged_in: dict[str, Browser], act: Act
) -> None:
    admin, other = logged_in["admin"], open_browser(lived_in)
    path, form = filled(act.path), dict.fromkeys(act.fields, "1")
    for token in ("", "0" * 40, other.get("/").token, "é"):
        assert admin.post(path, form | {"token": token}).status == 403
    assert admin.get(path).status in (404, 401), "an act is a POST"


@acts
@pytest.mark.parametrize(
    "headers",
    [
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
    ],
)
def test_an_act_that_another_site_sends_is_refused(
    logged_in: dict[str, Browser], act: Act, headers: dict[str, str]
) -> None:
    admin = logged_in["admin"]
    form = dict.fromkeys(act.fields, "1") | {"token": admin.get("/").token}
    assert admin.post(filled(act.path), form, **headers).status == 403


@acts
def test_an_act_without_a_session_leads_to_the_login(logged_in: dict[str, Browser], act: Act) -> None:
    assert logged_in[""].post(filled(act.path), {"token": ""}).location == "/login"


@acts
def test_an_act_is_the_operation_of_an_endpoint(act: Act) -> None:
    assert act.endpoint in ENDPOINTS
    assert act.endpoint.make is not None
    assert not act.path.startswith("/api/")


def test_no_act_leads_elsewhere(lived_in: Hub, open_browser: Open) -> None:
    admin = open_browser(lived_in)
    incident = lived_in.incidents()[0]["id"]
    path = f"/incidents/{incident}/acknowledge"
    for wanted in ("//evil.example/", "https://evil.example", "/\\evil.example", "/a\r\nX: y"):
        answer = admin.post(path, {"token": admin.get("/").token, "back": wanted})
        assert (answer.status, answer.location) == (303, "/")


@pytest.mark.parametrize(
    ("wanted", "status"), [("soon", 400), ("-5", 400), ("<b>", 400)], ids=["unreadable", "refused", "markup"]
)
def test_a_form_that_is_refused_is_shown_again_where_it_is(
    start_hub: Start, open_browser: Open, monkeypatch: pytest.MonkeyPatch, wanted: str, status: int
) -> None:
    monkeypatch.setattr(
        "understudy.dashboard.app.ACTS",
        tuple(replace(act, page="home") if act.name == "incidents.snooze" else act for act in ACTS),
    )
    hub = start_hub()
    hub.beat()
    hub.advance(181_000)
    admin = open_browser(hub)
    snooze = admin.get("/").acts[1]
    seen = admin.act(snooze, forSec=wanted)
    assert seen.status == status
    assert seen.attribute("data-daemon") == ["mini"]
    assert 'name="back" value="/"' in seen.text
    assert " data-live\n" not in seen.text, "its address is not that of a page"
    assert hub.incidents()[0].get("snoozedUntil") is None


def test_the_switch_of_the_language_is_kept(hub: Hub, open_browser: Open) -> None:
    admin = open_browser(hub)
    answer = admin.get("/?lang=ja")
    assert (answer.status, answer.location) == (303, "/")
    assert '<html lang="ja">' in admin.get("/").text
    assert '<html lang="ja">' in open_browser(hub, "").get("/login?lang=ja").text


@pytest.mark.parametrize("wanted", ["/tasks?q=a%20b%26c&status=done", "/log?search=&level=warning", "/keys"])
def test_the_switch_of_the_language_keeps_the_rest_of_the_address(hub: Hub, open_browser: Open, wanted: str) -> None:
    admin = open_browser(hub)
    (switch,) = [link for link in admin.get(wanted).attribute("href") if link.endswith("lang=ja")]
    assert admin.get(switch).location == wanted
    stranger = open_browser(hub, "")
    login = stranger.get(wanted).location
    (switch,) = [link for link in stranger.get(login).attribute("href") if link.endswith("lang=ja")]
    seen = stranger.get(switch)
    assert '<html lang="ja">' in seen.text
    assert unescape(re.findall(r'name="next" value="([^"]*)"', seen.text)[0]) == wanted


@pytest.mark.parametrize("path", ["//evil.example/", "/" + "a" * 4_000])
def test_the_switch_of_the_language_leads_nowhere_else(hub: Hub, open_browser: Open, path: str) -> None:
    seen = open_browser(hub).get(path, Accept="text/html")
    assert [link for link in seen.attribute("href") if "lang=" in link] == ["/?lang=ja"]


@pytest.mark.parametrize(
    ("wished", "language"),
    [
        ("ja-JP,ja;q=0.9,en;q=0.8", "ja"),
        ("en-GB,ja;q=0.5", "en"),
        ("de,ja;q=0.3", "ja"),
        ("fr", "en"),
        ("", "en"),
        ("ja;q=x", "en"),
        ("," * 9999, "en"),
    ],
)
def test_the_language_is_the_one_most_wished_for(wished: str, language: str) -> None:
    assert language_of({}, wished) == language


def test_an_unknown_page_is_a_page(hub: Hub, open_browser: Open) -> None:
    seen = open_browser(hub).get("/nothing", Accept="text/html")
    assert seen.status == 404
    assert seen.headers["content-security-policy"]
    assert "There is no such page" in seen.text


def test_a_program_gets_its_own_answer(hub: Hub) -> None:
    assert hub.get("/nothing").of(404) == {"error": "Not found"}
    assert hub.get("/api/nothing", headers={"Accept": "text/html"}).of(404) == {"error": "Not found"}
    assert hub.get("/nothing", key=None).of(401) == {"error": "Unauthorized"}


def test_a_header_cannot_be_smuggled_into_an_answer(hub: Hub, open_browser: Open) -> None:
    admin = open_browser(hub)
    for path in (
        "/?lang=ja%0d%0aSet-Cookie:x=1",
        "/login?next=%0d%0aX-Evil:1",
        "/%0d%0aX-Evil:1",
        "/?x=%0d%0aX-Evil:1&lang=en",
    ):
        seen = admin.get(path)
        assert "x-evil" not in seen.headers
        assert not any("x=1" in cookie for cookie in seen.cookies)


# ---- files


@pytest.mark.parametrize(
    "name",
    [
        "../page.py",
        "..%2fpage.py",
        "%2e%2e/templates/layout.html",
        "vendor/../../app.py",
        "/etc/passwd",
        "vendor",
        "",
        "style.css%00.js",
    ],
)
def test_nothing_but_the_files_that_there_are_is_served(hub: Hub, open_browser: Open, name: str) -> None:
    seen = open_browser(hub, "").get(f"/static/1/{name}")
    assert seen.status in (404, 401)
    assert "import" not in seen.text


def test_files_are_kept_for_a_year_under_an_address_that_changes_with_them(hub: Hub, open_browser: Open) -> None:
    browser = open_browser(hub, "")
    for name, file in static_files().items():
        seen = browser.get(static_path(name))
        assert seen.headers["cache-control"].endswith("immutable")
        assert seen.headers["content-type"] == file.media_type
        assert seen.headers["x-content-type-options"] == "nosniff"
        assert browser.get(static_path(name), If_None_Match=seen.headers["etag"]).status == 304
    assert browser.get("/static/older/style.css").headers["cache-control"] == "no-cache"


def test_a_first_look_is_small(logged_in: dict[str, Browser]) -> None:
    page = logged_in["admin"].get("/").text
    named = {name for name in static_files() if static_path(name) in page and not name.startswith("icon-")}
    assert sum(len(static_files()[name].content) for name in named) + len(page.encode()) < 100_000


def test_it_can_be_installed(hub: Hub, open_browser: Open) -> None:
    seen = open_browser(hub, "").get("/manifest.webmanifest")
    assert seen.headers["content-type"] == "application/manifest+json"
    assert '"display":"standalone"' in seen.text


# ---- rules


@pytest.mark.parametrize("text", ["//x", "/\\x", "x", "", "http://x", "/a b", "/a\nb", "/" + "a" * 4000, "/é", "/a#b"])
def test_only_own_addresses_are_led_to(text: str) -> None:
    assert own_path(text) == "/"


def test_own_addresses_are(hub: Hub) -> None:
    for text in (
        "/",
        "/tasks?q=a%20b&status=done",
        "/daemons/mac%2Fmini",
        "/tasks/evt_1~2",
        f"/tasks?q={quote('計' * 256)}",
    ):
        assert own_path(text) == text


def test_requests_of_other_sites_are_seen() -> None:
    host = {"host": "hub.example:8787"}
    assert is_from_us(host)
    assert is_from_us(host | {"origin": "https://hub.example:8787"})
    assert is_from_us({"host": "inner", "origin": "https://hub.example"}, "https://hub.example")
    assert is_from_us(host | {"sec-fetch-site": "same-origin", "origin": "https://elsewhere"}), "the browser knows best"
    for more in ({"origin": "https://hub.example"}, {"origin": "null"}, {"sec-fetch-site": "none"}, {"origin": "[::1"}):
        assert not is_from_us(host | more)


def test_prefetches_are_seen() -> None:
    assert is_ahead_of_time({"sec-purpose": "prefetch;prerender"})
    assert not is_ahead_of_time({"sec-fetch-mode": "navigate"})


def test_every_page_has_its_place_in_the_navigation_or_below_one() -> None:
    for page in PAGES:
        assert page.name in NAVIGATION or "{" in page.path
    assert len({page.name for page in PAGES}) == len(PAGES)
    assert len({act.name for act in ACTS}) == len(ACTS)
    for page in PAGES:
        assert len({f.name for f in page.fragments}) == len(page.fragments)
