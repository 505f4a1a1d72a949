"""The page of the log: the last lines that match, what they are about, and one line with its neighbours."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.api.hubs import Hub
from tests.dashboard.browser import Browser, Seen
from tests.project.tree import ROOT
from understudy.coordinator.changes import Event
from understudy.dashboard.pages.log import NOUNS, SHOWN, line_of
from understudy.log import pretty_line
from understudy.wire.answers.events import EventJson

Open = Callable[..., Browser]
BAD = "<img src=x onerror=alert(1)>\u202egnp\x1b[31m"
FREQUENT = {"heartbeat", "alarm"}


def write(hub: Hub, *events: Event) -> None:
    hub.store.transaction(lambda tx: tx.append_events(events))


def event(hub: Hub, message: str = "Something happened", level: str = "info", **fields: Any) -> Event:
    return Event(hub.now, level, "task.queued", "Test", message, fields)


def text_of(markup: str) -> str:
    return html.unescape(re.sub(r"<[^>]*>", "", markup))


def ids(seen: Seen) -> list[int]:
    return [int(one) for one in seen.attribute("data-event")]


def test_the_newest_line_comes_first_in_the_words_of_tail(hub: Hub, admin: Browser) -> None:
    hub.beat("mini")
    hub.enqueue("t1")
    seen = admin.get("/log")
    found = hub.get("/api/events", key="admin-key-of-the-tests").of(200)["events"]
    assert ids(seen) == [one["id"] for one in reversed(found)]
    for one in found:
        assert one["message"] in text_of(seen.text)
        assert f"[{one['component']}]" in seen.text


def test_tasks_and_daemons_in_a_line_are_links(hub: Hub, admin: Browser) -> None:
    hub.beat("mac/mini 1")
    hub.enqueue("t1")
    text = admin.get("/log").text
    assert '<a href="/daemons/mac%2Fmini%201"><bdi>mac/mini 1</bdi></a>' in text
    assert '<a href="/tasks/t1"><bdi>t1</bdi></a>' in text


def pieces(message: str, **fields: Any) -> list[tuple[str, str]]:
    row = line_of(EventJson(1, "2026-01-01T00:00:00.000Z", "info", "x.y", "C", message, fields))
    return [(piece.text, piece.path) for piece in row.pieces]


def test_a_link_stands_where_the_message_names_it_or_last() -> None:
    both = {"taskId": "t1", "daemonId": "mini"}
    assert pieces("Task t1 of mini", **both) == [
        ("Task ", ""),
        ("t1", "/tasks/t1"),
        (" of ", ""),
        ("mini", "/daemons/mini"),
    ]
    assert pieces("Done", taskId="t1") == [("Done", ""), (" ", ""), ("t1", "/tasks/t1")]
    assert pieces("mini mini-2", daemonId="mini", taskId="mini-2") == [
        ("mini", "/daemons/mini"), (" ", ""), ("mini-2", "/tasks/mini-2"),
    ]  # fmt: skip
    assert pieces("No name", taskId=5, daemonId="") == [("No name", "")]


def test_search_and_level_are_in_the_address_and_kept_by_the_stream(hub: Hub, admin: Browser) -> None:
    write(hub, event(hub, "A rose"), event(hub, "A tulip", "warning"), event(hub, "A rose", "critical"))
    assert len(ids(admin.get("/log?search=ROSE"))) == 2
    assert len(ids(admin.get("/log?search=rose&level=warning"))) == 1
    seen = admin.get("/log?" + urlencode({"search": '"><b>x', "level": "warning"}))
    assert ids(seen) == []
    assert 'value="&#34;&gt;&lt;b&gt;x"' in seen.text
    assert '<option value="warning" selected>' in seen.text
    assert "tulip" not in admin.stream("/log?search=rose").fragment("log", "rose")
    assert admin.get("/log?level=loud").status == 400


def test_it_is_followed_live(hub: Hub, admin: Browser) -> None:
    stream = admin.stream("/log?search=t1")
    assert "t1" not in stream.fragment("log")
    hub.enqueue("t2")
    hub.enqueue("t1")
    assert 'href="/tasks/t1"' in stream.fragment("log", "t1")


def test_it_is_bounded_and_older_lines_are_a_page_further(hub: Hub, admin: Browser) -> None:
    write(hub, *[event(hub, f"Line {n} & more") for n in range(SHOWN + 50)])
    first = admin.get("/log?search=line")
    assert len(ids(first)) == SHOWN
    assert "data-pause" in first.text
    (older,) = [link for link in first.attribute("href") if "cursor=" in link]
    assert "search=line" in older
    second = admin.get(older)
    assert ids(second) == list(range(ids(first)[-1] - 1, ids(first)[-1] - 51, -1))
    assert "data-pause" not in second.text
    assert "/log?search=line" in second.attribute("href")


def test_a_line_has_an_address_that_shows_it_with_its_neighbours(hub: Hub, admin: Browser) -> None:
    write(hub, *[event(hub, f"Line {n}", key="a b") for n in range(100)])
    around = ids(admin.get("/log"))[50]
    seen = admin.get(f"/log?around={around}")
    assert ids(seen) == list(range(around + 25, around - 26, -1))
    assert len(seen.attribute("aria-current")) == 2, "the page in the navigation, and the line"
    assert f'href="/log?around={around}#e-{around}"' in seen.text
    (one,) = [row for row in hub.get("/api/events?limit=200").of(200)["events"] if row["id"] == around]
    shown = pretty_line(hub.now, "info", "Test", one["message"], {"key": "a b"})
    assert shown in html.unescape(seen.text)
    assert "This line is no longer kept" in admin.get("/log?around=99999").text
    assert admin.get("/log?around=x").status == 400
    assert admin.get("/log?cursor=-1").status == 400


def test_fields_are_folded(hub: Hub, admin: Browser) -> None:
    write(hub, event(hub, "With fields", a=1, b="two words", none=None))
    text = admin.get("/log").text
    assert "<summary>Fields: 2</summary><pre>a=1\nb=&#34;two words&#34;</pre>" in text


def test_a_whole_page_of_it_is_quickly_there(hub: Hub, admin: Browser) -> None:
    hub.beat("mac-mini")
    for n in range(SHOWN):
        hub.enqueue(f"task_01J9ZQ4X{n:04}")
    seen = admin.get("/log")
    assert len(ids(seen)) == SHOWN
    assert len(seen.text.encode()) < 75_000, "some 25,000 more are files, compressed, that other pages have too"


@pytest.mark.parametrize("where", ["message", "component", "field", "name", "taskId"])
def test_what_comes_from_outside_is_text(hub: Hub, admin: Browser, where: str) -> None:
    bad = BAD + "x" * 10_000
    fields = {bad: 1} if where == "name" else {where: bad}
    kept = fields if where not in ("message", "component") else {}
    write(
        hub,
        Event(hub.now, "info", "x.y", bad if where == "component" else "C", bad if where == "message" else "M", kept),
    )
    for path in ("/log", f"/log?around={ids(admin.get('/log'))[0]}"):
        text = admin.get(path).text
        assert "<img" not in text
        assert "\u202e" not in text
        assert "\x1b" not in text
    assert len(admin.get("/log").text) < 25_000


def test_secrets_are_not_shown(hub: Hub, admin: Browser) -> None:
    secret = "sk-ant-api03-" + "a" * 40
    write(hub, event(hub, f"The key {secret} is bad", detail=secret))
    seen = admin.get("/log")
    assert secret not in admin.get(f"/log?around={ids(seen)[0]}").text + seen.text


def test_every_event_that_is_kept_renews_the_page() -> None:
    table = (ROOT / "docs" / "events.md").read_text("utf-8")
    names = re.findall(r"`([a-z]+)\.[a-z_]+`", " ".join(re.findall(r"^\| (`[^|]*)\|", table, re.MULTILINE)))
    assert set(names) - FREQUENT == NOUNS
