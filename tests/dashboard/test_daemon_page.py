"""The page of one daemon."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from urllib.parse import quote

import pytest

from tests.api.hubs import HOUR, MINUTE, Hub
from tests.dashboard.browser import Browser
from tests.dashboard.test_home import HOSTILE
from understudy.coordinator.nouns import Period
from understudy.coordinator.timeline import uptime_of
from understudy.dashboard.page import FieldError
from understudy.dashboard.pages.daemon import seconds_of, windows_of

Open = Callable[..., Browser]
PATH = "/daemons/mini"


def test_home_leads_to_it(hub: Hub, admin: Browser) -> None:
    hub.beat("a/b c")
    assert "/daemons/a%2Fb%20c" in admin.get("/").attribute("href")
    assert admin.get("/daemons/a%2Fb%20c").attribute("data-daemon") == ["a/b c"]


def test_an_unknown_daemon_has_no_page(admin: Browser) -> None:
    assert admin.get("/daemons/nobody").status == 404


def test_its_state_is_shown_and_pushed(hub: Hub, admin: Browser) -> None:
    hub.beat()
    assert admin.get(PATH).attribute("data-state") == ["healthy"]
    stream = admin.stream(PATH)
    hub.advance(181_000)
    assert stream.fragment("daemon_state", 'data-state="late"')


def test_uptime_counts_no_time_in_which_the_hub_was_away(hub: Hub, admin: Browser) -> None:
    for _ in range(6):
        hub.beat()
        hub.advance(MINUTE)
    hub.freeze(2 * HOUR)
    hub.beat()
    seen = admin.get(PATH)
    assert "100.00 %" in seen.text
    assert "Unknown" in seen.attribute("data-word")
    assert "because the hub itself was not running" in seen.text


def test_uptime_is_rounded_down_and_of_nothing_there_is_none() -> None:
    def lasted(**ms: int) -> float | None:
        at, periods = 0, []
        for state, length in ms.items():
            periods.append(Period("mini", at, state, at + length))
            at += length
        return uptime_of(periods).percent

    assert lasted(healthy=999_999, down=1) == 99.99
    assert lasted(healthy=50, late=25, down=20, stuck=5, unknown=900, asleep=900, paused=9, stopped=9, new=9) == 50
    assert lasted(paused=5) is None


@pytest.mark.parametrize(
    ("span", "chosen"), [("24h", "24h"), ("7d", "7d"), ("90d", "90d"), ("<b>", "24h"), ("", "24h")]
)
def test_the_span_is_in_the_address(hub: Hub, admin: Browser, span: str, chosen: str) -> None:
    hub.beat()
    hub.advance(MINUTE)
    assert admin.get(f"{PATH}?span={quote(span)}").attribute("data-uptime") == [chosen]


def test_what_it_runs_leads_to_the_task(hub: Hub, admin: Browser) -> None:
    hub.beat()
    hub.enqueue("t1", content="Water the plants")
    lease = hub.daemon_lease()
    hub.beat(running=[{"taskId": "t1", "token": lease["token"], "progress": {"text": "filling the can"}}])
    seen = admin.get(PATH)
    assert seen.attribute("data-task") == ["t1"]
    assert "/tasks/t1" in seen.attribute("href")
    assert "filling the can" in seen.text


def test_its_incidents_come_in_pages(hub: Hub, admin: Browser) -> None:
    for _ in range(12):
        hub.beat()
        hub.advance(181_000)
    hub.beat("other", machine="m2")
    hub.advance(181_000)
    seen = admin.get(f"{PATH}?span=7d")
    first = seen.attribute("data-incident")
    assert len(first) == 10
    (older,) = [href for href in seen.attribute("href") if "before=" in href]
    rest = admin.get(older.partition("#")[0])
    assert rest.attribute("data-uptime") == ["7d"]
    (longer,) = [href for href in rest.attribute("href") if "span=90d" in href]
    assert admin.get(longer).attribute("data-incident") == rest.attribute("data-incident")
    assert len({*first, *rest.attribute("data-incident")}) == 12
    assert admin.get(f"{PATH}?before=x").status == 400


def test_what_it_says_of_itself_is_shown_with_what_fixes_it(hub: Hub, admin: Browser) -> None:
    loops = {"claim": {"agoSec": 3, "limitSec": 120}, "odd": "?", "worse": {"agoSec": "x", "limitSec": -1}}
    hub.beat(version="0.1.0", loops=loops, auth={"codex": "ok", "claude_code": "logged_out"})
    text = admin.get(PATH).text
    for said in ("0.1.0", "logged out", "claude setup-token", "3.0 s of 2 min", "odd"):
        assert said in text


def test_its_starts_are_listed_with_their_versions(hub: Hub, admin: Browser) -> None:
    hub.beat(version="0.1.0")
    hub.beat("other", machine="m2", version="9.9-of-the-other")
    hub.advance(MINUTE)
    hub.beat(boot="b2", version="0.2.0")
    text = admin.get(PATH).text
    assert "updated from 0.1.0" in text
    assert "first seen" in text
    assert "9.9-of-the-other" not in text


def test_a_directive_is_given_by_a_button_and_its_state_shown(hub: Hub, admin: Browser) -> None:
    hub.beat()
    order = f"{PATH}/directives"
    assert admin.get(PATH).acts.count(order) == 2, "drain and restart"
    assert admin.act(order, PATH, kind="drain").location == PATH
    assert hub.daemon("mini")["directives"][0]["kind"] == "drain"
    assert "asked" in admin.get(PATH).attribute("data-status")


def test_a_directive_that_none_is_is_said_at_its_form(hub: Hub, admin: Browser) -> None:
    hub.beat()
    seen = admin.act(f"{PATH}/directives", PATH, kind="update", version="<b>1 2")
    assert seen.status == 400
    assert 'role="alert"' in seen.text
    assert 'value="&lt;b&gt;1 2"' in seen.text
    assert "directives" not in hub.daemon("mini")


def test_who_acts_has_his_name_and_no_prefix(hub: Hub, admin: Browser) -> None:
    hub.beat()
    admin.act(f"{PATH}/directives", PATH, kind="drain")
    hub.advance(181_000)
    (incident,) = admin.get(PATH).attribute("data-incident")
    admin.act(f"/incidents/{incident}/acknowledge", PATH)
    assert hub.daemon("mini")["directives"][0]["askedBy"] == "env:ADMIN_API_KEY"
    for path, times in ((PATH, 2), ("/incidents", 1), ("/", 1)):
        text = admin.get(path).text
        assert "env:" not in text, path
        assert text.count("ADMIN_API_KEY") >= times, path


def test_a_legacy_daemon_has_no_directives_to_give(hub: Hub, admin: Browser) -> None:
    hub.post("/api/queue/heartbeat", {"workerId": "old"}).of(200)
    assert not any("directives" in act for act in admin.get("/daemons/old").acts)


def test_pause_and_resume(hub: Hub, admin: Browser) -> None:
    hub.beat()
    admin.act(f"{PATH}/pause", PATH)
    seen = admin.get(PATH)
    assert seen.attribute("data-state") == ["paused"]
    assert f"{PATH}/resume" in seen.acts
    admin.act(f"{PATH}/resume", PATH)
    assert admin.get(PATH).attribute("data-state") == ["healthy"]


def test_limits_say_where_they_come_from_and_are_changed_by_a_form(hub: Hub, admin: Browser) -> None:
    hub.beat()
    assert "from the hub" in admin.get(PATH).text
    form = {"lateAfterSec": "4m", "downAfterSec": "", "expectedSleep": "23:00-07:00@Asia/Tokyo\r\n\r\n12:00-13:00"}
    assert admin.act(f"{PATH}/settings", PATH, **form).location == PATH
    settings = hub.daemon("mini")["settings"]
    assert (settings["lateAfterSec"], settings["downAfterSec"]) == (240, None)
    assert [window["tz"] for window in settings["expectedSleep"]] == ["Asia/Tokyo", "UTC"]
    seen = admin.get(PATH)
    assert "set for this daemon" in seen.text
    assert 'value="4m"' in seen.text


def test_a_limit_that_cannot_hold_says_that_it_was_raised(hub: Hub, admin: Browser) -> None:
    hub.beat(intervalSec=3600)
    assert "raised to fit" in admin.get(PATH).text


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ({"lateAfterSec": "soon"}, "Write a duration"),
        ({"expectedSleep": "at night"}, "Write each window"),
        ({"expectedSleep": "25:00-07:00"}, "Write each window"),
        ({"lateAfterSec": "10m", "downAfterSec": "5m"}, "Expected at least lateAfterSec"),
        ({"expectedSleep": "01:00-02:00@Nowhere/X"}, "no time zone"),
    ],
)
def test_what_is_wrong_is_said_at_the_form_with_what_was_filled_in(
    hub: Hub, admin: Browser, form: dict[str, str], said: str
) -> None:
    hub.beat()
    seen = admin.act(f"{PATH}/settings", PATH, **form)
    assert seen.status == 400
    assert said in seen.text
    assert all(html.escape(value) in seen.text for value in form.values())
    assert hub.daemon("mini")["settings"]["lateAfterSec"] is None


def test_a_form_that_was_refused_leads_on_from_its_page(hub: Hub, admin: Browser) -> None:
    """The page stands at the address of the form then, which none can be opened at."""
    for _ in range(12):
        hub.beat()
        hub.advance(181_000)
    seen = admin.act(f"{PATH}/settings", f"{PATH}?span=7d", lateAfterSec="soon")
    assert seen.status == 400
    links = [link for link in seen.attribute("href") if "span=" in link or "before=" in link]
    assert [link for link in links if not link.startswith(f"{PATH}?span=")] == []
    assert {f"{PATH}?span=90d", f"{PATH}?span=7d&lang=ja"} <= {*links}
    assert [link for link in links if "before=" in link]


def test_fields_are_read() -> None:
    assert (seconds_of(" 90 "), seconds_of("5m"), seconds_of("1h 30m")) == (90, 300, 5400)
    assert windows_of(" 23:00 - 07:00 @ Asia/Tokyo ") == [{"from": "23:00", "to": "07:00", "tz": "Asia/Tokyo"}]
    assert windows_of("\n \n") == []
    for wrong in ("", "-1", "1 fortnight", "²"):
        with pytest.raises(FieldError):
            seconds_of(wrong)


def test_a_daemon_is_forgotten_and_home_is_shown(hub: Hub, admin: Browser) -> None:
    hub.beat()
    assert admin.act(f"{PATH}/forget", PATH, back="/").location == "/"
    assert admin.get(PATH).status == 404


def test_who_may_only_look_sees_no_form(hub: Hub, reader: Browser) -> None:
    hub.beat()
    text = reader.get(PATH).text
    assert "lateAfterSec" not in text
    assert "<textarea" not in text


@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
def test_whatever_it_says_is_shown_and_does_nothing(hub: Hub, admin: Browser, name: str) -> None:
    said = {"version": name[:128], "loops": {name[:60]: {"agoSec": 1}}, "auth": {"x": name, name[:60]: "ok"}}
    hub.beat(name, **said, provides=[name[:64]])
    hub.enqueue("t1", content=name * 40, needs=[])
    hub.daemon_lease(name)
    path = f"/daemons/{quote(name, safe='')}"
    hub.post(f"/api{path}/directives", {"kind": "drain"}, key="admin-key-of-the-tests").of(201)
    seen = admin.get(path)
    assert seen.status == 200
    assert seen.attribute("data-daemon") == [name]
    shown = seen.text.replace(html.escape(name), "")
    for raw in ("<script>alert", "<img", "\u202e", "\x1b"):
        assert raw not in shown


@pytest.mark.parametrize("name", ["a/", "a?b#c", 'a"><script>', "\u202ea\x1b[31m", "constructor", "a/pause"])
def test_a_name_with_signs_of_an_address_leads_to_its_own_page(hub: Hub, open_browser: Open, name: str) -> None:
    """The page of `mini/` was that of `mini`, and the forms of `a?b` led back to `a?b` with a query of `b`."""
    hub.beat(name.rstrip("/?"), boot="b0", machine="m0")
    hub.beat(name)
    admin = open_browser(hub)
    path = f"/daemons/{quote(name, safe='')}"
    assert admin.get("/").text.count(f'href="{path}"') == 1
    seen = admin.get(path)
    assert seen.status == 200
    assert f'action="{path}/forget"' in seen.text
    assert seen.attribute("value").count(path) >= 1
    assert "<script>" not in seen.text
    assert not {"\u202e", "\x1b"} & set(re.sub(r'data-[a-z-]+="[^"]*"', "", seen.text))
