"""Home: every daemon with its state, its last day, what it runs, and its incident."""

from __future__ import annotations

import html
import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.api.hubs import HOUR, MINUTE, Hub
from tests.dashboard.browser import Browser
from tests.hub.standing_in import policy_of
from understudy.coordinator.takeover_nouns import TakeoverState
from understudy.hub import home

Open = Callable[..., Browser]


def test_with_no_daemon_it_says_how_to_join_one(hub: Hub, admin: Browser) -> None:
    text = admin.get("/").text
    assert "understudy daemon" in text
    assert "data-daemon" not in text


def test_each_daemon_has_its_id_and_state(hub: Hub, admin: Browser) -> None:
    hub.beat("mini")
    hub.beat("studio", machine="m2")
    hub.post("/api/daemons/studio/pause", key="admin-key-of-the-tests").of(200)
    seen = admin.get("/")
    assert list(zip(seen.attribute("data-daemon"), seen.attribute("data-state"), strict=True)) == [
        ("mini", "healthy"),
        ("studio", "paused"),
    ]


def test_few_daemons_keep_their_places_and_the_worst_is_in_the_head(hub: Hub, admin: Browser) -> None:
    hub.beat("a")
    hub.beat("b", machine="m2")
    hub.advance(181_000)
    hub.beat("a")
    seen = admin.get("/")
    assert seen.attribute("data-daemon") == ["a", "b"]
    assert seen.attribute("data-worst") == ["late"]
    assert seen.attribute("data-icon") == ["warn"]
    assert seen.attribute("data-title") == ["1 Late"]


def test_of_many_daemons_the_worst_come_first(hub: Hub, admin: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(home, "AT_A_GLANCE", 1)
    hub.beat("a")
    hub.beat("b", machine="m2")
    hub.advance(181_000)
    hub.beat("a")
    assert admin.get("/").attribute("data-daemon") == ["b", "a"]


def test_the_bar_is_made_of_periods_and_gaps_are_unknown(hub: Hub, admin: Browser) -> None:
    for _ in range(6):
        hub.beat()
        hub.advance(MINUTE)
    hub.freeze(2 * HOUR)
    hub.beat()
    for _ in range(6):
        hub.beat()
        hub.advance(MINUTE)
    hub.advance(181_000)
    words = admin.get("/").attribute("data-word")
    assert words[0] == "Healthy"
    assert "Unknown" in words
    assert words[-1] == "Late"


def test_what_runs_is_shown_with_its_progress(hub: Hub, admin: Browser) -> None:
    hub.beat()
    hub.enqueue("t1", content="Water the plants")
    lease = hub.daemon_lease()
    hub.beat(
        running=[{"taskId": "t1", "token": lease["token"], "progress": {"phase": "tool", "text": "filling the can"}}]
    )
    text = admin.get("/").text
    assert 'data-run="t1"' in text
    assert "Water the plants" in text
    assert "filling the can" in text


def test_the_queue_and_takeover_are_in_sight(hub: Hub, admin: Browser) -> None:
    hub.enqueue("t1")
    hub.enqueue("t2")
    seen = admin.get("/")
    assert seen.attribute("data-queue") == ["2"]
    assert seen.attribute("data-takeover") == ["off"]


@pytest.mark.parametrize(
    ("decided", "state", "word", "hint"),
    [
        ({}, {}, "ready", "Answers while no daemon is available."),
        ({}, {"is_open": 1}, "open", "The hub answers in place of the daemons."),
        ({}, {"is_open": 1, "paused": 1}, "paused", "An owner has paused it."),
        ({}, {"circuit": "credit", "access": "a"}, "stopped", "It makes no calls now."),
        ({"has_key": False}, {}, "lacking", "A setting is missing."),
        ({"mode": "notify"}, {}, "ready", "Notifies the senders while no daemon is available."),
        ({"mode": "notify"}, {"is_open": 1}, "open", "Notifies the senders while no daemon is available."),
        ({"mode": "notify"}, {"paused": 1}, "ready", "Notifies the senders while no daemon is available."),
        (
            {"mode": "notify"},
            {"circuit": "credit", "access": "a"},
            "ready",
            "Notifies the senders while no daemon is available.",
        ),
        ({"mode": "", "sources": (("slack", "answer"),)}, {}, "ready", "Answers while no daemon is available."),
        ({"mode": "off"}, {"paused": 1}, "off", "No answers while no daemon is available."),
    ],
)
def test_takeover_has_one_word_on_home_and_on_its_page(
    start_hub: Callable[..., Hub],
    open_browser: Open,
    decided: dict[str, Any],
    state: dict[str, Any],
    word: str,
    hint: str,
) -> None:
    hub = start_hub(policy=policy_of(**decided))
    hub.store.transaction(lambda tx: tx.save_many([TakeoverState(since_at=hub.now, **state)]))
    browser = open_browser(hub)
    assert browser.get("/").attribute("data-takeover") == [word]
    assert hint in browser.get("/").text
    assert browser.get("/takeover").attribute("data-takeover") == [word]


def test_when_it_was_heard_and_when_it_will_be_late_goes_to_the_browser_as_instants(hub: Hub, admin: Browser) -> None:
    hub.beat()
    (beats,) = admin.get("/").attribute("data-beats")
    assert json.loads(beats) == {"mini": [hub.now, hub.now + 180_000, hub.now + 300_000]}


def test_an_incident_is_acknowledged_and_snoozed_by_its_buttons(hub: Hub, admin: Browser) -> None:
    hub.beat()
    hub.advance(181_000)
    acknowledge, snooze = admin.get("/").acts
    answer = admin.act(acknowledge)
    assert (answer.status, answer.location) == (303, "/")
    assert admin.act(snooze, forSec="3600").status == 303
    (incident,) = hub.incidents()
    assert incident["acknowledgedBy"] == "env:ADMIN_API_KEY"
    assert incident["snoozedUntil"] > incident["acknowledgedAt"]
    assert admin.get("/").acts == []


def test_a_script_gets_no_page_for_an_act(hub: Hub, admin: Browser) -> None:
    hub.beat()
    hub.advance(181_000)
    page = admin.get("/")
    assert admin.post(page.acts[0], {"token": page.token}, X_Requested_With="fetch").status == 204


def test_a_value_that_is_none_is_refused(hub: Hub, admin: Browser) -> None:
    hub.beat()
    hub.advance(181_000)
    assert admin.act(admin.get("/").acts[1], forSec="soon").status == 400
    assert admin.act("/incidents/no%20id/acknowledge").status == 400
    assert admin.act("/incidents/incident-9/acknowledge").status == 404


HOSTILE = [
    "<script>alert(1)</script>", "\"'><img src=x onerror=alert(1)>", "{{ 7*7 }}", "\u202egnp.exe", "\x1b[31mred\x1b[0m",
    "x" * 256, "a&amp;b", "\u200f\u2067", "名前" * 100,
]  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
def test_a_name_is_shown_and_does_nothing(hub: Hub, admin: Browser, name: str) -> None:
    hub.beat(name)
    hub.enqueue("t1", content=name * 40)
    hub.daemon_lease(name)
    seen = admin.get("/")
    assert seen.status == 200
    assert seen.attribute("data-daemon") == [name]
    shown = seen.text.replace(html.escape(name), "")
    for raw in ("<script>alert", "<img", "\u202e", "\x1b", "49"):
        assert raw not in shown.replace("&#39;", "'") or raw == "49"
    assert max(map(len, shown.split())) < 3_000


def test_ten_thousand_characters_are_cut(hub: Hub, admin: Browser) -> None:
    hub.beat()
    hub.enqueue("t1", content="y" * 10_000)
    hub.daemon_lease()
    assert "y" * 300 not in admin.get("/").text


def test_with_many_daemons_the_page_stays_bounded(hub: Hub, admin: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("understudy.hub.home.DAEMONS_SHOWN", 3)
    for n in range(5):
        hub.beat(f"d{n}", machine=f"m{n}")
    seen = admin.get("/")
    assert len(seen.attribute("data-daemon")) == 3
    assert "2 more daemons" in seen.text
