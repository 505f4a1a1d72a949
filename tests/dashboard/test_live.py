"""What is pushed: only what changed, once for all who look, and no longer than the session lasts."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable

import pytest

from tests.api.hubs import DAY, Hub
from tests.api.wire import ADMIN
from tests.dashboard.browser import Browser
from tests.waiting import eventually
from understudy.api.event_feed import EventFeed
from understudy.dashboard import live as live_module
from understudy.dashboard import site as site_module
from understudy.dashboard.doorman import LINE
from understudy.dashboard.live import Live, Looked, Watcher, shown_of
from understudy.dashboard.page import Fragment, Given
from understudy.errors import UnavailableError
from understudy.hub.views import View

Open = Callable[..., Browser]


def test_a_page_that_has_everything_is_sent_nothing_at_first(hub: Hub, admin: Browser) -> None:
    hub.beat()
    page = admin.get("/")
    have = ",".join(
        f"{name}:{mark}" for name, mark in zip(page.attribute("data-live"), page.attribute("data-mark"), strict=True)
    )
    stream = admin.stream(f"/?have={have}")
    assert stream.next()[0] == "hello"
    hub.enqueue("t1")
    event, data = stream.next()
    assert (event, data["name"]) == ("fragment", "home_standby")
    assert 'data-queue="1"' in data["html"]


def test_the_clock_of_the_hub_comes_at_once_and_also_while_something_else_always_comes(
    hub: Hub, admin: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    news = Watcher.next
    monkeypatch.setattr(Watcher, "next", lambda watcher, _: news(watcher, 3_600))  # it never waits in vain
    stream = admin.stream()
    event, data = stream.next()
    assert (event, data["now"]) == ("hello", hub.now)
    hub.advance(6_000)
    hub.enqueue("t1")
    while (told := stream.next())[0] == "fragment":
        pass
    assert told == ("alive", hub.now)


def test_a_change_of_state_is_pushed(hub: Hub, admin: Browser) -> None:
    hub.beat()
    stream = admin.stream()
    stream.fragment("home_daemons", 'data-state="healthy"')
    hub.advance(181_000)
    stream.fragment("home_daemons", 'data-state="late"')
    hub.advance(120_000)
    stream.fragment("home_daemons", 'data-state="down"')
    hub.beat()
    stream.fragment("home_daemons", 'data-state="healthy"')


def test_the_head_of_every_page_turns_with_the_worst(hub: Hub, admin: Browser) -> None:
    hub.beat()
    stream = admin.stream()
    stream.fragment("standing", 'data-worst="healthy"')
    hub.advance(181_000)
    stream.fragment("standing", 'data-worst="late"')


def test_a_beat_alone_brings_its_instants(hub: Hub, admin: Browser) -> None:
    hub.beat()
    stream = admin.stream()
    stream.fragment("home_beats", str(hub.now))
    hub.advance(10_000)
    hub.beat()
    stream.fragment("home_beats", str(hub.now))


def test_an_act_of_one_is_seen_by_others(hub: Hub, admin: Browser, reader: Browser) -> None:
    hub.beat()
    hub.advance(181_000)
    stream = reader.stream()
    stream.fragment("home_daemons")
    admin.act(admin.get("/").acts[0])
    stream.fragment("home_daemons", "Acknowledged by")


def test_who_may_only_look_is_pushed_no_act(hub: Hub, admin: Browser, reader: Browser) -> None:
    hub.beat()
    hub.advance(181_000)
    assert "formaction" in admin.stream().fragment("home_daemons")
    assert "formaction" not in reader.stream().fragment("home_daemons")


def test_a_fragment_is_rendered_once_for_all_who_look(
    hub: Hub, open_browser: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted: list[str] = []
    real = site_module.rendered

    def counting(template: str, *given: object) -> str:
        counted.append(template)
        return real(template, *given)  # type: ignore[arg-type]

    streams = [open_browser(hub, "read").stream() for _ in range(5)]
    for stream in streams:
        stream.fragment("home_daemons")
    monkeypatch.setattr(site_module, "rendered", counting)
    hub.beat()
    shown = {stream.fragment("home_daemons", "data-daemon") for stream in streams}
    assert len(shown) == 1
    assert counted.count("fragments/home_daemons.html") <= 2


def test_nobody_looks_and_nothing_is_noted(hub: Hub, admin: Browser) -> None:
    stream = admin.stream()
    stream.next()
    assert len(hub.runtime.feed.listeners) == 1
    stream.close()
    eventually(lambda: not hub.runtime.feed.listeners)
    assert hub.runtime.waiting.count == 0


def test_a_logout_ends_every_stream_of_the_session_at_once(hub: Hub, admin: Browser, reader: Browser) -> None:
    mine, others = admin.stream(), reader.stream()
    mine.next()
    others.next()
    admin.act("/logout")
    while (event := mine.next()[0]) == "fragment":
        pass
    assert event == "over"
    hub.enqueue("t1")
    others.fragment("home_standby", 'data-queue="1"')


def test_a_revoked_key_ends_the_streams_of_its_sessions(hub: Hub, open_browser: Open) -> None:
    made = hub.post("/api/keys", {"name": "mine", "scopes": ["read"]}, key=ADMIN).of(201)
    browser = open_browser(hub, "")
    browser.post("/login", {"key": made["key"]})
    stream = browser.stream()
    stream.next()
    hub.post(f"/api/keys/{made['id']}/revoke", key=ADMIN).of(200)
    while (event := stream.next()[0]) == "fragment":
        pass
    assert event == "over"


def test_a_session_whose_time_is_over_ends_its_streams(hub: Hub, admin: Browser, reader: Browser) -> None:
    stream = admin.stream()
    stream.next()
    hub.clock.advance(31 * DAY)
    hub.post("/api/login-links", {}, key=ADMIN).of(201)  # any word about sessions makes it look
    while (event := stream.next()[0]) == "fragment":
        pass
    assert event == "over"


def test_who_opens_hundreds_of_pages_waits_for_those_who_open_one() -> None:
    """Each with filters of its own, rendered one after the other: the only page of another session comes first."""
    fragment = Fragment("one", lambda _, __: {})

    async def look() -> list[str]:
        live = Live(None, None, None)  # type: ignore[arg-type]  # nothing is rendered here
        for n in range(200):
            session = "one" if n == 150 else "many"
            given = Given("en", frozenset(), query=(("q", str(n)),))
            looked = live._looked[("one", given)] = Looked(fragment, given)
            looked.watchers.add(Watcher(session, {}))
            live._of_session[session] += 1
        return [watcher.session_id for looked in live._due() for watcher in looked.watchers]

    assert asyncio.run(look())[:2] == ["one", "many"]


class ReadWhenAsked:
    """Of a hub: reads that end when the test says so."""

    def __init__(self) -> None:
        self.feed = EventFeed()
        self.reads: list[asyncio.Future[str]] = []

    def view(self, *_: object) -> asyncio.Future[str]:
        self.reads.append(asyncio.get_running_loop().create_future())
        return self.reads[-1]


def test_a_page_opened_while_a_fragment_is_rendered_anew_does_not_show_the_old_one() -> None:
    """A person who pressed a button is led back to the page, which must show what the button did."""
    fragment, given = Fragment("one", lambda _, __: {}), Given("en", frozenset())

    async def look() -> list[str | None]:
        hub = ReadWhenAsked()
        live = Live(hub, None, None)  # type: ignore[arg-type]  # nothing is rendered here
        live._check_at = math.inf  # nobody's session is looked at
        looked = live._looked[("one", given)] = Looked(fragment, given)
        seen: list[str | None] = []
        for html in ("before", "after"):
            looked.is_stale, looked.due_at = True, 0.0
            rendering = asyncio.ensure_future(live._look())
            await asyncio.sleep(0)
            seen.append(shown.html if (shown := live.shown(fragment, given)) else None)
            hub.reads[-1].set_result(html)
            await rendering
            seen.append(shown.html if (shown := live.shown(fragment, given)) else None)
        return seen

    assert asyncio.run(look()) == [None, "before", None, "after"]


@pytest.mark.parametrize(
    ("has", "becomes", "sent"),
    [("after", "after", []), ("after", "before", ["before"]), ("before", "after", ["after"])],
)
def test_a_page_that_joins_others_is_never_sent_what_is_older_than_it_shows(
    has: str, becomes: str, sent: list[str]
) -> None:
    """Others see a search that is up to a minute old: the page that was just opened has a newer one."""
    fragment, given = Fragment("one", lambda _, __: {}), Given("en", frozenset())

    async def look() -> list[bytes]:
        hub = ReadWhenAsked()
        live = Live(hub, None, None)  # type: ignore[arg-type]  # nothing is rendered here
        live._check_at = math.inf
        looked = live._looked[("one", given)] = Looked(fragment, given)
        looked.take(shown_of("one", "before"), 0.0, 0.0)
        with live.joined("s", [(fragment, given)], {"one": shown_of("one", has).mark}) as watcher:
            live._check_at = math.inf
            early = await watcher.next(0)
            looked.due_at = 0.0
            rendering = asyncio.ensure_future(live._look())
            await asyncio.sleep(0)
            hub.reads[-1].set_result(becomes)
            await rendering
            return [*early, *await watcher.next(0)]

    assert asyncio.run(look()) == [shown_of("one", html).message for html in sent]


def test_open_pages_do_not_stand_in_line_with_strangers(
    hub: Hub, admin: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their sessions are looked at before they are brought up to date: who floods the login must not stop that."""
    lines: list[str] = []
    real = hub.runtime.view
    assert admin.get("/").status == 200

    async def view(show: Callable[[View], object], key_id: str = "") -> object:
        lines.append(key_id)
        return await real(show, key_id)

    monkeypatch.setattr(hub.runtime, "view", view)
    admin.stream().fragment("home_daemons")
    assert LINE not in lines


async def ended(held: Callable[[tuple[str, ...]], frozenset[str]], *said: str) -> str:
    """Why the only open page was ended, if `held` tells which sessions are, and these events were noted."""

    async def look(ids: tuple[str, ...]) -> frozenset[str]:
        return held(ids)

    live = Live(ReadWhenAsked(), None, look)  # type: ignore[arg-type]  # nothing is rendered here
    with live.joined("s1", (), {}) as watcher:
        live._said |= {(name, "") for name in said}
        async with asyncio.timeout(60):
            while not watcher.over:
                await watcher.next(60)
    return watcher.over


def test_a_session_that_could_not_be_looked_at_when_it_ended_is_looked_at_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its page may have news all the time: nobody else would look."""
    monkeypatch.setattr(live_module, "RETRY_S", 0)
    failures = iter([UnavailableError("The hub is overloaded")] * 3)

    def held(_: tuple[str, ...]) -> frozenset[str]:
        for failure in failures:
            raise failure
        return frozenset()

    assert asyncio.run(ended(held, "session.ended")) == "session"


def test_a_page_that_has_news_all_the_time_ends_with_its_session_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_module, "CHECK_EVERY_S", 0)
    looks = iter([frozenset({"s1"})] * 3)
    assert asyncio.run(ended(lambda _: next(looks, frozenset()))) == "session"


def test_a_session_that_ended_just_before_its_page_joined_the_others_ends_that_page() -> None:
    """It was let in while it was held, and the word of its end came before anybody would note it for this page."""
    assert asyncio.run(ended(lambda _: frozenset())) == "session"


def test_a_stream_is_asked_for_with_get(hub: Hub, admin: Browser) -> None:
    """Any other method would hold a place among those who wait for as long as its sender likes."""
    assert admin.call("HEAD", "/live").status == 200
    assert {admin.call(method, "/live").status for method in ("POST", "PUT", "DELETE")} == {401}


def test_a_hub_that_stops_ends_its_streams_without_ending_the_session(hub: Hub, admin: Browser) -> None:
    stream = admin.stream()
    stream.next()
    ending = hub.begin_stop()
    while (event := stream.next()[0]) == "fragment":
        pass
    assert event == ""
    ending.result(30)


def test_a_page_that_is_let_in_while_the_hub_stops_is_not_followed(hub: Hub, admin: Browser) -> None:
    """All streams were told that the hub stops; this one would hold up the end until it is cut."""
    hub.thread.loop.call_soon_threadsafe(hub.runtime.release_waiters)
    assert admin.stream().response.status == 503


def test_a_session_has_a_bounded_number_of_streams(hub: Hub, admin: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("understudy.dashboard.live.WATCHERS_OF_SESSION_MAX", 2)
    assert [admin.stream().response.status for _ in range(3)] == [200, 200, 429]


def test_a_bug_in_a_fragment_is_logged_and_the_others_go_on(
    hub: Hub, admin: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = admin.stream()
    stream.fragment("home_daemons")
    real = site_module.rendered

    def broken(template: str, *given: object) -> str:
        if "standby" in template:
            raise RuntimeError("a bug")
        return real(template, *given)  # type: ignore[arg-type]

    monkeypatch.setattr(site_module, "rendered", broken)
    hub.beat()
    stream.fragment("home_daemons", "data-daemon")
    eventually(lambda: "a bug" in hub.log.getvalue())
