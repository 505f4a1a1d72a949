"""Getting in and out: links that work once, keys in a form, proxies in front, sessions and their end."""

from __future__ import annotations

import asyncio
import re
import socket
import unicodedata
from collections.abc import Callable
from html import unescape
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.api.hubs import DAY, MINUTE, Hub, KeptStore
from tests.api.wire import ADMIN, OWNER
from tests.dashboard.browser import Browser
from tests.dashboard.conftest import login_link
from tests.waiting import eventually
from understudy.api.fields import FIELDS_MAX
from understudy.config.table import Settings
from understudy.dashboard import doorman as doorman_module
from understudy.dashboard.asked import ProxyTrust, token_of
from understudy.dashboard.doorman import Doorman

Open = Callable[..., Browser]


def session_of(browser: Browser) -> str:
    return next(value for name, value in browser.cookies.items() if name != "understudy_language")


def test_a_link_logs_in_and_leads_home(hub: Hub, open_browser: Open) -> None:
    browser = open_browser(hub, "")
    answer = browser.get(login_link(hub))
    assert (answer.status, answer.location) == (303, "/")
    assert browser.get("/").status == 200


def test_a_link_works_once(hub: Hub, open_browser: Open) -> None:
    path = login_link(hub)
    assert open_browser(hub, "").get(path).status == 303
    second = open_browser(hub, "")
    assert second.get(path).status == 401
    assert second.get("/").location == "/login"


def test_a_link_ends_after_ten_minutes(hub: Hub, open_browser: Open) -> None:
    paths = [login_link(hub), login_link(hub)]
    hub.clock.advance(10 * MINUTE - 1)
    assert open_browser(hub, "").get(paths[0]).status == 303
    hub.clock.advance(1)
    assert open_browser(hub, "").get(paths[1]).status == 401


@pytest.mark.parametrize(
    "headers", [{"Sec_Purpose": "prefetch;prerender"}, {"Purpose": "prefetch"}, {"X_Moz": "prefetch"}]
)
def test_who_fetches_it_in_advance_does_not_use_it_up(hub: Hub, open_browser: Open, headers: dict[str, str]) -> None:
    browser, path = open_browser(hub, ""), login_link(hub)
    ahead = browser.get(path, **headers)
    assert (ahead.status, ahead.cookies) == (200, [])
    assert browser.call("HEAD", path).status == 200
    assert browser.get(path).status == 303


def test_the_cookie_is_kept_from_scripts_and_other_sites(hub: Hub, open_browser: Open) -> None:
    (cookie,) = open_browser(hub, "").get(login_link(hub)).cookies
    parts = {part.strip().lower() for part in cookie.split(";")}
    assert {"httponly", "samesite=lax", "path=/"} <= parts
    assert "secure" not in parts
    assert cookie.startswith(f"understudy_{hub.port}=")


def test_behind_tls_the_cookie_is_bound_to_it(hub: Hub, open_browser: Open) -> None:
    browser = open_browser(hub, "", X_Forwarded_Proto="https")
    (cookie,) = browser.get(login_link(hub)).cookies
    assert cookie.startswith(f"__Host-understudy_{hub.port}=")
    assert "secure" in cookie.lower()
    assert browser.get("/").status == 200


def test_a_cookie_header_of_any_size_is_read_in_no_time(hub: Hub, open_browser: Open) -> None:
    """60 kB of backslashes in quotes took the standard library minutes, on the event loop, without a login."""
    for cookie in (
        'understudy_language="' + "\\" * 60_000 + '"',
        "a=b;" * 15_000,
        '="' * 30_000,
        "understudy=" + "." * 60_000,
    ):
        assert open_browser(hub, "").get("/login", Cookie=cookie).status == 200


def test_behind_tls_a_cookie_without_the_bond_counts_for_nothing(hub: Hub, open_browser: Open) -> None:
    planted = open_browser(hub)
    planted._headers["X-Forwarded-Proto"] = "https"
    assert planted.get("/").status == 303


def test_every_login_makes_a_new_secret_and_ends_the_session_before(hub: Hub, open_browser: Open) -> None:
    browser = open_browser(hub)
    first = session_of(browser)
    browser.get(login_link(hub))
    assert session_of(browser) != first
    old = open_browser(hub, "")
    old.cookies = {f"understudy_{hub.port}": first}
    assert old.get("/").status == 303


def test_a_secret_that_the_browser_brings_is_never_taken_over(hub: Hub, open_browser: Open) -> None:
    browser = open_browser(hub, "")
    browser.cookies = {f"understudy_{hub.port}": "session-1.chosen-by-somebody-else"}
    browser.get(login_link(hub))
    assert "chosen" not in session_of(browser)


def test_a_key_in_the_form_does_the_same(hub: Hub, open_browser: Open) -> None:
    browser = open_browser(hub, "")
    assert browser.post("/login", {"key": f" {ADMIN}\n", "next": "/"}).location == "/"
    assert browser.get("/").status == 200


def test_a_key_gives_its_own_scopes_and_no_more(hub: Hub, open_browser: Open) -> None:
    made = hub.post("/api/keys", {"name": "eyes", "scopes": ["read"]}, key=ADMIN).of(201)["key"]
    open_browser(hub, "").post("/login", {"key": made})
    sessions = hub.get("/api/sessions", key=ADMIN).of(200)["sessions"]
    assert sessions[0]["scopes"] == ["read"]


def test_a_key_that_may_not_look_does_not_log_in(hub: Hub, open_browser: Open) -> None:
    made = hub.post("/api/keys", {"name": "hands", "scopes": ["work"]}, key=ADMIN).of(201)["key"]
    answer = open_browser(hub, "").post("/login", {"key": made})
    assert (answer.status, answer.cookies) == (403, [])


def test_wrong_keys_and_links_count_as_wrong_keys_do(hub: Hub, open_browser: Open) -> None:
    browser = open_browser(hub, "")
    statuses = [browser.post("/login", {"key": f"wrong-{n}"}).status for n in range(10)]
    statuses += [browser.get(f"/login/wrong-{n}").status for n in range(10)]
    assert statuses == [401] * 20
    assert hub.get("/api/daemons", key="wrong").status == 429
    assert browser.post("/login", {"key": OWNER}).status == 303


def test_a_missing_key_is_no_guess(hub: Hub, open_browser: Open) -> None:
    browser = open_browser(hub, "")
    assert {browser.post("/login", {}).status for _ in range(25)} == {401}


def test_another_site_cannot_log_a_browser_in(hub: Hub, open_browser: Open) -> None:
    for headers in ({"Sec_Fetch_Site": "cross-site"}, {"Origin": "https://evil.example"}, {"Origin": "null"}):
        answer = open_browser(hub, "").post("/login", {"key": ADMIN}, **headers)
        assert (answer.status, answer.cookies) == (403, [])


def test_a_session_ends_after_seven_days_without_a_request(hub: Hub, open_browser: Open) -> None:
    browser = open_browser(hub)
    hub.clock.advance(7 * DAY - 1)
    assert browser.get("/").status == 200
    hub.clock.advance(7 * DAY)
    assert browser.get("/").status == 303


def test_a_session_ends_after_thirty_days(hub: Hub, open_browser: Open) -> None:
    browser = open_browser(hub)
    for _ in range(5):
        hub.clock.advance(6 * DAY - 1)
        assert browser.get("/").status == 200
    hub.clock.advance(5)
    assert browser.get("/").status == 303


def test_that_it_was_seen_is_written_once_a_minute(hub: Hub, open_browser: Open) -> None:
    browser = open_browser(hub)
    seen = []
    for _ in range(4):
        hub.clock.advance(MINUTE // 2)
        browser.get("/")
        seen.append(hub.get("/api/sessions", key=ADMIN).of(200)["sessions"][0]["seenAt"])
    assert len(set(seen)) == 3


def test_the_logout_ends_the_session_and_not_only_the_cookie(hub: Hub, open_browser: Open) -> None:
    browser = open_browser(hub)
    kept = dict(browser.cookies)
    assert browser.act("/logout").location == "/login"
    browser.cookies = kept
    assert browser.get("/").status == 303


def test_an_owner_can_end_a_session(hub: Hub, open_browser: Open) -> None:
    browser = open_browser(hub)
    (session,) = hub.get("/api/sessions", key=ADMIN).of(200)["sessions"]
    assert hub.post(f"/api/sessions/{session['id']}/end", key=ADMIN).of(200)["endedAt"]
    assert browser.get("/").status == 303


def test_a_revoked_key_ends_its_sessions(hub: Hub, open_browser: Open) -> None:
    made = hub.post("/api/keys", {"name": "mine", "scopes": ["read"]}, key=ADMIN).of(201)
    browser = open_browser(hub, "")
    browser.post("/login", {"key": made["key"]})
    assert browser.get("/").status == 200
    hub.post(f"/api/keys/{made['id']}/revoke", key=ADMIN).of(200)
    assert browser.get("/").status == 303


def test_a_session_that_ends_while_its_form_comes_does_nothing_any_more(hub: Hub, admin: Browser) -> None:
    form = urlencode({"token": admin.get("/").token, "back": "/", "content": "too late"}).encode()
    cookie = "; ".join(f"{name}={value}" for name, value in admin.cookies.items())
    head = f"POST /submit HTTP/1.1\r\nhost: 127.0.0.1:{hub.port}\r\ncookie: {cookie}\r\n"
    with socket.create_connection(("127.0.0.1", hub.port), 30) as line:
        before = {*hub.crowd._known}
        line.sendall(f"{head}content-length: {len(form)}\r\n\r\n".encode())
        eventually(lambda: {*hub.crowd._known} - before, what="the session was let in")
        hub.post("/api/sessions/end", key=ADMIN).of(200)
        line.sendall(form)
        answer = line.recv(4096)
    assert (answer.split(b" ")[1], b"location: /login\r\n" in answer) == (b"303", True), answer
    assert hub.pending() == []


def test_a_session_outlives_the_hub_but_not_its_key(
    kept_store: KeptStore, start_hub: Callable[..., Hub], open_browser: Open
) -> None:
    first = start_hub(store=kept_store)
    browser = open_browser(first)
    cookie = session_of(browser)
    first.begin_stop().result(30)
    for keys, status in (({"ADMIN_API_KEY": ADMIN}, 200), ({"ADMIN_API_KEY": "another-admin-key"}, 303)):
        hub = start_hub(store=kept_store, keys=keys, clock=first.clock)
        again = open_browser(hub, "")
        again.cookies = {f"understudy_{hub.port}": cookie}
        assert again.get("/").status == status
        hub.begin_stop().result(30)


def test_a_link_ends_with_the_secret_of_its_key(
    kept_store: KeptStore, start_hub: Callable[..., Hub], open_browser: Open
) -> None:
    """An admin key that has leaked is replaced: a link made with it before must not log in under the new one."""
    first = start_hub(store=kept_store)
    paths = [login_link(first), login_link(first)]
    first.begin_stop().result(30)
    for keys, path, status in (
        ({"ADMIN_API_KEY": "another-admin-key"}, paths[0], 401),
        ({"ADMIN_API_KEY": ADMIN}, paths[1], 303),
    ):
        hub = start_hub(store=kept_store, keys=keys, clock=first.clock)
        assert open_browser(hub, "").get(path).status == status
        hub.begin_stop().result(30)


def test_another_site_cannot_log_a_browser_out(hub: Hub, open_browser: Open) -> None:
    """Its form comes without the cookie (SameSite), but the answer could make the browser forget it."""
    for headers in ({"Sec_Fetch_Site": "cross-site"}, {"Origin": "https://evil.example"}, {"Origin": "null"}):
        answer = open_browser(hub, "").post("/logout", {}, **headers)
        assert (answer.status, answer.cookies) == (403, [])


def test_the_login_leads_back_to_a_search(hub: Hub, open_browser: Open) -> None:
    browser = open_browser(hub, "")
    wanted = "/tasks?q=a%20b%26c&status=done"
    (shown,) = re.findall(r'name="next" value="([^"]*)"', browser.get(browser.get(wanted).location).text)
    assert browser.post("/login", {"key": ADMIN, "next": unescape(shown)}).location == wanted


def test_a_wrong_key_forgets_nothing_of_where_the_login_leads(hub: Hub, open_browser: Open) -> None:
    browser = open_browser(hub, "")
    wanted = "/tasks?q=a%20b%26c&status=done"
    for key in ("wrong", ""):
        seen = browser.post("/login", {"key": key, "next": wanted})
        assert seen.status == 401
        (switch,) = [link for link in seen.attribute("href") if "lang=" in link]
        for again in (seen, browser.get(switch)):
            assert [unescape(one) for one in re.findall(r'name="next" value="([^"]*)"', again.text)] == [wanted]
    assert 'name="next" value="/"' in browser.post("/login", {"key": "wrong", "next": "//evil.example"}).text


def test_a_link_that_was_refused_is_not_tried_again_in_another_language(hub: Hub, open_browser: Open) -> None:
    seen = open_browser(hub, "").get("/login/wrong")
    assert [link for link in seen.attribute("href") if "lang=" in link] == ["/login?lang=ja"]


@pytest.mark.parametrize("path", ["/login", "/logout"])
def test_a_stranger_sends_no_large_form(hub: Hub, open_browser: Open, path: str) -> None:
    assert open_browser(hub, "").post(path, {"key": "k" * 20_000}).status == 413


@pytest.mark.parametrize("path", ["/login", "/", "/live", "/l/link", "/login/link"])
def test_a_query_has_no_more_fields_than_anybody_needs(hub: Hub, open_browser: Open, path: str) -> None:
    """64 KiB of separators held the loop for 24 ms, without a key."""
    browser = open_browser(hub, "")
    refused = browser.get(path + "?a" + "&" * FIELDS_MAX)
    assert (refused.status, "at most 64 fields" in refused.text) == (400, True)
    assert browser.get(path + "?a" + "&" * (FIELDS_MAX - 1)).status not in (400, 500)


def test_the_store_holds_no_secret(hub: Hub, open_browser: Open) -> None:
    path = login_link(hub)
    browser = open_browser(hub, "")
    browser.get(path)
    secret = session_of(browser).partition(".")[2]
    shown = hub.get("/api/sessions", key=ADMIN).text + hub.get("/api/events?limit=1000").text + hub.log.getvalue()
    for word in (secret, path.rpartition("/")[2], token_of(secret)):
        assert word not in shown


def test_a_key_has_a_bounded_number_of_sessions(hub: Hub, open_browser: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("understudy.dashboard.doorman.SESSIONS_OF_KEY_MAX", 2)
    browsers = []
    for _ in range(3):
        hub.clock.advance(1000)
        browsers.append(open_browser(hub, ""))
        browsers[-1].post("/login", {"key": OWNER})
    assert [browser.get("/").status for browser in browsers] == [303, 200, 200]
    assert len(hub.get("/api/sessions", key=ADMIN).of(200)["sessions"]) == 2


def test_logins_at_the_same_moment_do_not_exceed_that_number(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else whoever has a key could fill the store, hundreds of sessions at a time."""
    monkeypatch.setattr(doorman_module, "SESSIONS_OF_KEY_MAX", 3)
    api: Any = SimpleNamespace(hub=hub.runtime)
    doorman = Doorman(api, ProxyTrust())
    asked: Any = SimpleNamespace(headers={}, session=None, cookie=("", ""), keep_session=lambda *_: None)

    async def log_in_at_once() -> None:
        await asyncio.gather(*(doorman.begin(asked, "k", "", "", frozenset({"read"})) for _ in range(10)))

    hub.thread.run(log_in_at_once())
    assert len(hub.get("/api/sessions", key=ADMIN).of(200)["sessions"]) == 3


def test_sessions_beyond_that_number_end_with_the_next_login(
    hub: Hub, open_browser: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Several hubs count without a lock, so one may find more than it would have begun."""
    for _ in range(4):
        open_browser(hub, "").post("/login", {"key": OWNER})
    monkeypatch.setattr(doorman_module, "SESSIONS_OF_KEY_MAX", 3)
    hub.clock.advance(1000)
    browser = open_browser(hub, "")
    browser.post("/login", {"key": OWNER})
    assert browser.get("/").status == 200
    assert len(hub.get("/api/sessions", key=ADMIN).of(200)["sessions"]) == 3


def test_strangers_with_invented_cookies_stand_in_a_line_of_their_own(
    hub: Hub, open_browser: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = []
    real = hub.runtime.view

    async def noted(show: Callable[..., object], key_id: str = "") -> object:
        lines.append(key_id)
        return await real(show, key_id)

    browser, stranger = open_browser(hub), open_browser(hub, "")
    assert browser.get("/").status == 200
    monkeypatch.setattr(hub.runtime, "view", noted)
    stranger.cookies = {f"understudy_{hub.port}": session_of(browser).partition(".")[0] + "x.guess"}
    assert stranger.get("/").status == 303
    assert lines == ["logins"]
    assert browser.get("/").status == 200
    assert lines.count("logins") == 1


# ---- a proxy in front

PROXIED = Settings(trust_user_header="Remote-User", trusted_proxies=("127.0.0.1",))


def test_a_trusted_proxy_names_who_it_is(start_hub: Callable[..., Hub], open_browser: Open) -> None:
    hub = start_hub(settings=PROXIED)
    browser = open_browser(hub, "", Remote_User="alice")
    assert browser.get("/").status == 200
    assert hub.get("/api/sessions", key=ADMIN).of(200)["sessions"][0]["keyId"] == "user:alice"
    assert browser.get("/").cookies == [], "the session is used again"


def test_such_a_session_is_good_for_that_person_only(start_hub: Callable[..., Hub], open_browser: Open) -> None:
    hub = start_hub(settings=PROXIED)
    browser = open_browser(hub, "", Remote_User="alice")
    browser.get("/")
    browser._headers = {}
    assert browser.get("/").status == 303


def test_nobody_else_is_believed(start_hub: Callable[..., Hub], open_browser: Open) -> None:
    hub = start_hub(settings=Settings(trust_user_header="Remote-User", trusted_proxies=("10.0.0.0/8",)))
    assert open_browser(hub, "", Remote_User="alice").get("/").status == 303
    assert open_browser(start_hub(), "", Remote_User="alice").get("/").status == 303


def test_users_have_the_scopes_that_they_were_given(start_hub: Callable[..., Hub], open_browser: Open) -> None:
    hub = start_hub(settings=Settings(**{**_fields(PROXIED), "trusted_users": (("alice", "read"),)}))
    assert open_browser(hub, "", Remote_User="alice").get("/").status == 200
    assert hub.get("/api/sessions", key=ADMIN).of(200)["sessions"][0]["scopes"] == ["read"]
    assert open_browser(hub, "", Remote_User="mallory").get("/").status == 303


@pytest.mark.parametrize(
    ("sent", "configured"),
    [
        ("佐藤花子".encode(), "佐藤花子"),
        ("が".encode(), unicodedata.normalize("NFD", "が")),
        (unicodedata.normalize("NFD", "ガ").encode(), "ガ"),
        ("アダム".encode(), "アダム"),  # its last byte is a space in Latin-1
        ("andré".encode("latin-1"), "andré"),
    ],
)
def test_names_of_every_script_are_known(
    start_hub: Callable[..., Hub], open_browser: Open, sent: bytes, configured: str
) -> None:
    hub = start_hub(settings=Settings(**{**_fields(PROXIED), "trusted_users": ((configured, "read"),)}))
    assert open_browser(hub, "", Remote_User=sent.decode("latin-1")).get("/").status == 200
    (session,) = hub.get("/api/sessions", key=ADMIN).of(200)["sessions"]
    assert session["keyId"] == f"user:{unicodedata.normalize('NFC', configured)}"


def test_a_person_who_may_only_look_from_now_on_keeps_no_wider_session(
    kept_store: KeptStore, start_hub: Callable[..., Hub], open_browser: Open
) -> None:
    cookie: dict[str, str] = {}
    for scope, scopes in (("admin", 5), ("read", 1)):
        users = (("alice", scope),)
        hub = start_hub(store=kept_store, settings=Settings(**{**_fields(PROXIED), "trusted_users": users}))
        browser = open_browser(hub, "", Remote_User="alice")
        browser.cookies = {f"understudy_{hub.port}": value for value in cookie.values()}
        browser.get("/")
        cookie = browser.cookies
        held = hub.get("/api/sessions", key=ADMIN).of(200)["sessions"]
        assert scopes in [len(session["scopes"]) for session in held]
        hub.begin_stop().result(30)


def test_only_a_visit_begins_a_session_of_a_person(start_hub: Callable[..., Hub], open_browser: Open) -> None:
    hub = start_hub(settings=PROXIED)
    browser = open_browser(hub, "", Remote_User="alice")
    browser.get("/", Sec_Fetch_Mode="no-cors", Sec_Fetch_Site="cross-site")
    browser.get("/live", Accept="text/event-stream")
    browser.post("/takeover/pause", {"token": ""}, Sec_Fetch_Mode="navigate", Sec_Fetch_Site="cross-site")
    assert hub.get("/api/sessions", key=ADMIN).of(200)["sessions"] == []
    assert browser.get("/", Sec_Fetch_Mode="navigate").status == 200


def _fields(settings: Settings) -> dict[str, object]:
    return {"trust_user_header": settings.trust_user_header, "trusted_proxies": settings.trusted_proxies}


# ---- where it leads


@pytest.mark.parametrize(
    "wanted",
    ["//evil.example", "/\\evil.example", "https://evil.example", "javascript:alert(1)", "/%0d%0aX: y\r\nZ: 1", "/é"],
)
def test_no_login_leads_elsewhere(hub: Hub, open_browser: Open, wanted: str) -> None:
    browser = open_browser(hub, "")
    answer = browser.post("/login", {"key": ADMIN, "next": wanted})
    assert re.fullmatch(r"/(?![/\\])[!-~]*", answer.location)
    assert "evil" not in answer.location
    assert {"x", "z"}.isdisjoint(answer.headers)


def test_a_login_leads_back_to_the_page_that_was_wanted(hub: Hub, open_browser: Open) -> None:
    browser = open_browser(hub, "")
    assert browser.get("/?a=1").location == "/login?next=/%3Fa=1"
    assert 'name="next" value="/?a=1"' in browser.get("/login?next=/%3Fa=1").text
    assert browser.post("/login", {"key": ADMIN, "next": "/?a=1"}).location == "/?a=1"
