"""The page of keys and sessions: secrets shown once, what is revoked or ended is over at once, admins only."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from msgspec import Struct

from tests.api.hubs import Hub
from tests.dashboard.browser import Browser, Seen
from understudy.coordinator.nouns import Key, Session
from understudy.dashboard.browsers import browser_name

Open = Callable[..., Browser]
BAD = "<img src=x onerror=alert(1)>\u202egnp\x1b[31m"
IPHONE = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 19_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "
    "Version/19.1 Mobile/15E148 Safari/604.1"
)
DAY = 86_400_000


def save(hub: Hub, *rows: Struct) -> None:
    hub.store.transaction(lambda tx: tx.save_many(rows))


def create(admin: Browser, name: str = "mac-mini", *scopes: str) -> Seen:
    return admin.act("/keys/create", "/keys", name=name, scopes="\n".join(scopes or ("work",)))


def secret_in(seen: Seen) -> str:
    (secret,) = re.findall(r"<code data-secret>([^<]+)</code>", seen.text)
    return str(secret)


def stored_keys(admin: Browser) -> list[str]:
    return [key for key in admin.get("/keys").attribute("data-key") if not key.startswith("env:")]


def test_a_new_key_is_shown_once_and_works(hub: Hub, admin: Browser) -> None:
    seen = create(admin, "mac-mini", "work", "read")
    secret = secret_in(seen)
    assert (seen.status, seen.headers["cache-control"]) == (200, "no-store")
    assert hub.get("/api/daemons", key=secret).of(200)
    page = admin.get("/keys")
    assert secret not in page.text
    assert "mac-mini" in page.text
    assert stored_keys(admin) == seen.attribute("data-key")
    assert secret not in hub.log.getvalue()


def test_boxes_of_a_browser_are_all_taken(hub: Hub, admin: Browser) -> None:
    token = admin.get("/keys").token
    body = f"token={token}&back=/keys&name=+&name=two&scopes=+&scopes=read&scopes=submit"
    seen = admin.call("POST", "/keys/create", body.encode(), Content_Type="application/x-www-form-urlencoded")
    assert seen.status == 200
    assert [key["scopes"] for key in hub.get("/api/keys", key="admin-key-of-the-tests").of(200)["keys"]] == [
        ["read", "submit"]
    ]


@pytest.mark.parametrize(("name", "scopes", "said"), [(" ", "read", "Give the key a name"), ("x", " ", "at least one")])
def test_a_form_without_name_or_scope_says_so_and_keeps_the_rest(
    admin: Browser, name: str, scopes: str, said: str
) -> None:
    seen = admin.act("/keys/create", "/keys", name=name, scopes=scopes)
    assert seen.status == 400
    assert said in seen.text
    assert ('value="x"' in seen.text) == (name == "x")
    assert ("checked" in seen.text) == (scopes == "read")
    assert stored_keys(admin) == []


def test_a_scope_that_does_not_exist_is_refused_at_the_form(admin: Browser) -> None:
    seen = create(admin, "x", "root")
    assert seen.status == 400
    assert "This was not accepted" in seen.text
    assert "<code data-secret>" not in seen.text


def test_a_key_is_rotated_and_the_old_one_revoked_from_the_page_that_says_so(hub: Hub, admin: Browser) -> None:
    old = secret_in(create(admin))
    (key,) = stored_keys(admin)
    seen = admin.act(f"/keys/{key}/rotate", "/keys")
    new = secret_in(seen)
    assert new != old
    assert 'href="/keys?lang=ja"' in seen.text, "the address of the form has no page"
    assert f'action="/keys/{key}/revoke"' in seen.text
    assert hub.get("/api/queue/claim", key=old).status != 401
    assert admin.act(f"/keys/{key}/revoke", "/keys").location == "/keys"
    assert hub.get("/api/queue", key=old).status == 401
    assert len(stored_keys(admin)) == 1
    assert admin.get("/keys?show=revoked").attribute("data-key") == [key]


def form_of(seen: Seen, **values: str) -> dict[str, str]:
    """As a browser sends a form of this page."""
    (once,) = {*re.findall(r'name="once" value="([^"]+)"', seen.text)}
    return {"token": seen.token, "back": "/keys", "once": once, **values}


def test_a_form_that_is_sent_twice_makes_one_key_and_shows_its_secret_again(hub: Hub, admin: Browser) -> None:
    """After a double click the browser shows the second answer."""
    form = form_of(admin.get("/keys"), name="mac-mini", scopes="work\nread")
    first, second = (admin.post("/keys/create", form) for _ in range(2))
    assert (first.status, second.status) == (200, 200)
    assert secret_in(second) == secret_in(first)
    assert stored_keys(admin) == first.attribute("data-key")
    assert hub.get("/api/daemons", key=secret_in(first)).of(200)
    other = admin.post("/keys/create", form_of(admin.get("/keys"), name="mac-mini", scopes="work\nread"))
    assert secret_in(other) != secret_in(first)
    assert len(stored_keys(admin)) == 2


def test_a_form_that_was_sent_with_other_values_says_so_and_can_be_sent_then(admin: Browser) -> None:
    form = form_of(admin.get("/keys"), name="one", scopes="read")
    admin.post("/keys/create", form)
    for other in ({"name": "two"}, {"scopes": "work"}):
        seen = admin.post("/keys/create", form | other)
        assert (seen.status, "No key was made now" in seen.text) == (422, True)
    assert len(stored_keys(admin)) == 1
    assert admin.post("/keys/create", form_of(seen, name="two", scopes="read")).status == 200


def test_a_form_that_is_sent_again_does_not_show_a_key_that_was_revoked(admin: Browser) -> None:
    form = form_of(admin.get("/keys"), name="one", scopes="read")
    (key,) = admin.post("/keys/create", form).attribute("data-key")
    admin.act(f"/keys/{key}/revoke", "/keys")
    assert admin.post("/keys/create", form).status == 409
    assert stored_keys(admin) == []


def test_the_name_of_a_form_says_nothing_about_the_keys_of_another_session(hub: Hub, open_browser: Open) -> None:
    one, two = open_browser(hub), open_browser(hub)
    form = form_of(one.get("/keys"), name="one", scopes="read")
    mine = secret_in(one.post("/keys/create", form))
    assert secret_in(two.post("/keys/create", form | {"token": two.get("/keys").token})) != mine


def test_a_rotation_that_is_sent_twice_makes_one_successor(admin: Browser) -> None:
    create(admin, "one")
    create(admin, "two")
    keys = stored_keys(admin)
    form = form_of(admin.get("/keys"))
    seen = [admin.post(f"/keys/{key}/rotate", form) for key in (keys[0], keys[0], keys[1])]
    assert [one.status for one in seen] == [200] * 3
    secrets = [secret_in(one) for one in seen]
    assert secrets[0] == secrets[1] != secrets[2]
    assert len(stored_keys(admin)) == 4


def test_the_language_of_a_refusal_is_switched_on_the_page_of_the_form(admin: Browser) -> None:
    seen = admin.act("/keys/nobody/rotate", "/keys")
    assert seen.status == 404
    assert 'href="/keys?lang=ja"' in seen.text, "the address of the form has no page"


def test_revoking_a_key_ends_the_sessions_that_hang_on_it_at_once(hub: Hub, open_browser: Open, admin: Browser) -> None:
    secret = secret_in(create(admin, "look", "read"))
    (key,) = stored_keys(admin)
    looker = open_browser(hub, "")
    assert looker.post("/login", {"key": secret}).status == 303
    stream = looker.stream("/")
    assert stream.next()[0] == "hello"
    assert "sessions: 1" in admin.get("/keys").text
    admin.act(f"/keys/{key}/revoke", "/keys")
    while (event := stream.next()[0]) not in ("over", ""):
        pass
    assert event == "over"
    assert looker.get("/").location.startswith("/login")
    sessions = hub.get("/api/sessions", key="admin-key-of-the-tests").of(200)["sessions"]
    assert [bool(row["endedAt"]) for row in sessions if row["keyId"] == key] == [True]
    assert [bool(row["endedAt"]) for row in sessions if row["keyId"] != key] == [False]


def test_the_keys_of_the_settings_are_named_without_secret_and_cannot_be_changed_here(admin: Browser) -> None:
    seen = admin.get("/keys")
    assert seen.attribute("data-key") == ["env:UNDERSTUDY_API_KEY", "env:ADMIN_API_KEY"]
    assert "admin-key-of-the-tests" not in seen.text
    assert not [path for path in seen.acts if "env" in path]


def test_each_browser_finds_itself_marked_and_can_end_the_others(hub: Hub, open_browser: Open) -> None:
    one, two = open_browser(hub, User_Agent=IPHONE), open_browser(hub)
    seen = one.get("/keys")
    assert len(seen.attribute("data-session")) == 2
    assert "Safari, iPhone" in seen.text
    (own,) = re.findall(r'data-session="([^"]+)" data-own', seen.text)
    (other,) = set(seen.attribute("data-session")) - {own}
    assert re.findall(r'data-session="([^"]+)" data-own', two.get("/keys").text) == [other]
    assert [path for path in seen.acts if path.startswith("/sessions/")] == ["/sessions/end", f"/sessions/{other}/end"]
    assert one.act(f"/sessions/{other}/end", "/keys").status == 303
    assert two.get("/").location.startswith("/login")
    assert one.get("/").status == 200


def test_all_other_sessions_end_at_once(hub: Hub, open_browser: Open) -> None:
    mine, *others = [open_browser(hub) for _ in range(4)]
    (own,) = re.findall(r'data-session="([^"]+)" data-own', mine.get("/keys").text)
    assert mine.act("/sessions/end", "/keys", keep=own).status == 303
    assert [browser.get("/").status for browser in others] == [303] * 3
    assert mine.get("/keys").attribute("data-session")[0] == own
    assert "End all others" not in mine.get("/keys").text


def test_the_stream_marks_the_browser_that_follows_it(hub: Hub, open_browser: Open) -> None:
    one = open_browser(hub)
    stream = one.stream("/keys")
    two = open_browser(hub)
    assert "data-own" in stream.fragment("keys_sessions", "End all others")
    (own,) = re.findall(r'data-session="([^"]+)" data-own', one.get("/keys").text)
    assert re.findall(r'data-session="([^"]+)" data-own', two.get("/keys").text) != [own]


def test_sessions_that_are_over_are_not_among_those_that_are_held(hub: Hub, admin: Browser) -> None:
    at = hub.now
    later = at + 30 * DAY
    save(
        hub,
        Session("gone", "h", "key-gone", "", "o", "read", "curl/8", at, at, later),
        Session("other", "h", "env:ADMIN_API_KEY", "otherkey", "o", "admin", "x", at, at, later),
        Session("old", "h", "user:ada", "", "o", "read", IPHONE, at - 8 * DAY, at - 8 * DAY, later),
        Session("proxied", "h", "user:ada", "", "o", "read", IPHONE, at, at, later),
    )
    held, _, ended = admin.get("/keys").text.partition("Ended recently")
    assert set(re.findall(r'data-session="(gone|other|old|proxied)"', held)) == {"proxied"}
    assert set(re.findall(r'data-session="(gone|other|old|proxied)"', ended)) == {"gone", "other", "old"}


def test_older_keys_are_a_page_further(hub: Hub, admin: Browser) -> None:
    save(hub, *[Key(f"key-{n:03}", f"k{n}", f"hash-{n}", "read", hub.now + n // 2) for n in range(70)])
    first = admin.get("/keys")
    (older,) = [link for link in first.attribute("href") if "before=" in link]
    assert stored_keys(admin)[0] == "key-069"
    assert len(stored_keys(admin)) == 50
    assert admin.get(older).attribute("data-key") == [f"key-{n:03}" for n in range(19, -1, -1)]
    assert admin.get("/keys?before=x").status == 400


def test_names_from_outside_are_only_names(hub: Hub, open_browser: Open, admin: Browser) -> None:
    save(
        hub,
        Key("key-1", BAD + "x" * 10_000, "hash", "read", hub.now),
        Session("s", "h", "key-1", "", "o", "read", BAD, hub.now, hub.now, hub.now + DAY),
    )
    text = admin.get("/keys").text
    assert "<img" not in text
    assert "\u202e" not in text
    assert "\x1b" not in text
    assert len(text) < 40_000
    seen = create(admin, BAD)
    assert "<img" not in seen.text
    assert "\u202e" not in seen.text


def test_only_an_admin_sees_the_page_its_link_and_its_stream(hub: Hub, open_browser: Open) -> None:
    reader, admin = open_browser(hub, "read"), open_browser(hub)
    assert reader.get("/keys").status == 403
    assert 'href="/keys"' not in reader.get("/").text
    assert 'href="/keys"' in admin.get("/").text
    assert reader.stream("/keys").next()[0] == "over"


@pytest.mark.parametrize(
    ("agent", "name"),
    [
        (IPHONE, "Safari, iPhone"),
        (
            "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML) HeadlessChrome/120 Safari/537.36",
            "Chrome, Linux",
        ),
        ("Mozilla/5.0 (Windows NT 10.0) AppleWebKit Chrome/120 Safari/537 Edg/120", "Edge, Windows"),
        ("Mozilla/5.0 (Macintosh; Intel Mac OS X 10.15; rv:120.0) Gecko/20100101 Firefox/120.0", "Firefox, macOS"),
        ("curl/8.5", "curl"),
        ("something", ""),
        ("", ""),
    ],
)
def test_browsers_are_named_as_people_know_them(agent: str, name: str) -> None:
    assert browser_name(agent) == name
