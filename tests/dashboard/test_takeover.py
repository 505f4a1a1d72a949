"""The page of takeover: what it does, why it is open or shut, what stops it, what it has spent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from msgspec import Struct
from msgspec.structs import replace

from tests.api.hubs import Hub
from tests.dashboard.browser import Browser
from tests.hub.standing_in import policy_of
from understudy.coordinator.nouns import Daemon
from understudy.coordinator.takeover_nouns import Budget, Reservation, TakeoverState
from understudy.coordinator.utc_calendar import period_of
from understudy.dashboard.pages.takeover import CIRCUIT, OUTCOME, _known
from understudy.services import claude
from understudy.texts import LANGUAGES, catalogue

Start = Callable[..., Hub]
Open = Callable[..., Browser]
BAD = "<img src=x onerror=alert(1)>\u202egnp\x1b[31m"


def save(hub: Hub, *rows: Struct) -> None:
    hub.store.transaction(lambda tx: tx.save_many(rows))


def call(hub: Hub, call_id: str, **more: Any) -> Reservation:
    given = {"task_id": f"t-{call_id}", "token": 1, "worker_id": "hub", "model": "m", "reserved_micro_usd": 20_000}
    return Reservation(**(given | {"id": call_id, "expires_h": hub.now + 10**9, "at": hub.now} | more))


@pytest.fixture
def on(start_hub: Start) -> Hub:
    """A hub that may take over."""
    return start_hub(policy=policy_of())


def test_off_it_says_how_to_switch_it_on(hub: Hub, admin: Browser) -> None:
    seen = admin.get("/takeover")
    assert seen.attribute("data-takeover") == ["off"]
    assert "UNDERSTUDY_TAKEOVER=answer" in seen.text
    assert seen.acts == []
    assert "data-budget" not in seen.text


def test_a_daemon_that_is_here_keeps_it_shut_by_name(on: Hub, open_browser: Open) -> None:
    admin = open_browser(on)
    assert "No daemon has reported yet" in admin.get("/takeover").text
    on.beat("mini")
    seen = admin.get("/takeover")
    assert seen.attribute("data-takeover") == ["ready"]
    assert "not all daemons are away" in seen.text
    assert 'href="/daemons/mini"' in seen.text
    assert "The hub answers them." in seen.text


def test_while_all_are_away_it_says_since_when(on: Hub, open_browser: Open) -> None:
    on.beat("mini")
    on.advance(301_000)
    save(on, TakeoverState(is_open=1, since_at=on.now))
    seen = open_browser(on).get("/takeover")
    assert seen.attribute("data-takeover") == ["open"]
    assert "so takeover is open" in seen.text


def test_before_it_opens_it_says_when(on: Hub, open_browser: Open) -> None:
    on.beat("mini")
    (daemon,) = on.store.read(lambda reader: reader.load_many(Daemon, ("mini",)))
    save(on, replace(daemon, state="draining"))
    assert "The hub steps in at" in open_browser(on).get("/takeover").text


def test_pause_and_resume_are_asked_first_and_lead_back(on: Hub, open_browser: Open) -> None:
    admin = open_browser(on)
    seen = admin.get("/takeover")
    assert seen.acts == ["/takeover/pause"]
    assert seen.attribute("data-confirm")[0].startswith("Pause takeover?")
    assert admin.act("/takeover/pause", "/takeover").location == "/takeover"
    seen = admin.get("/takeover")
    assert (seen.attribute("data-takeover"), seen.attribute("data-stop")) == (["paused"], ["paused"])
    assert seen.acts == ["/takeover/resume"]
    admin.act("/takeover/resume", "/takeover")
    assert on.get("/api/takeover").of(200)["paused"] is False


def test_the_page_follows_a_pause(on: Hub, open_browser: Open) -> None:
    admin = open_browser(on)
    stream = admin.stream("/takeover")
    assert 'data-takeover="ready"' in stream.fragment("takeover")
    on.post("/api/takeover/pause", key="admin-key-of-the-tests").of(200)
    assert 'data-takeover="paused"' in stream.fragment("takeover", 'data-takeover="paused"')


def test_a_circuit_has_its_reason_and_its_fix(on: Hub, open_browser: Open) -> None:
    save(on, TakeoverState(circuit="credit", circuit_at=on.now, access="a"))
    seen = open_browser(on).get("/takeover")
    assert (seen.attribute("data-takeover"), seen.attribute("data-stop")) == (["stopped"], ["circuit"])
    assert "The account has no credit." in seen.text
    assert "Buy credit" in seen.text
    assert seen.acts == ["/takeover/resume", "/takeover/pause"]


def test_what_it_lacks_is_said_with_its_fix(start_hub: Start, open_browser: Open) -> None:
    seen = open_browser(start_hub(policy=policy_of(has_key=False))).get("/takeover")
    assert (seen.attribute("data-takeover"), seen.attribute("data-stop")) == (["lacking"], ["no_key"])
    assert "Set ANTHROPIC_API_KEY" in seen.text


def test_budgets_are_bars_and_words(on: Hub, open_browser: Open) -> None:
    save(
        on,
        Budget(period_of("day", on.now), "day", 500_000, 7),
        Budget(period_of("month", on.now), "month", 10_000_000, 90),
        call(on, "a", reserved_micro_usd=250_000),
    )
    seen = open_browser(on).get("/takeover")
    assert seen.attribute("data-budget") == ["day", "month"]
    assert seen.attribute("data-spent") == ["0.5", "10"]
    assert "0.5 of 1 USD" in seen.text
    assert '<rect class="m-spent" x="0" width="500"/><rect class="m-reserved" x="500" width="250"/>' in seen.text
    assert seen.attribute("data-stop") == ["month"]


def test_the_last_calls_are_listed_newest_first_and_bounded(on: Hub, open_browser: Open) -> None:
    ended = [
        call(on, f"c{n}", settled_at=on.now + n, spent_micro_usd=n, outcome="answered" if n % 2 else "overloaded")
        for n in range(30)
    ]
    save(on, *ended, call(on, "now"))
    seen = open_browser(on).get("/takeover")
    assert seen.attribute("data-call") == ["now", *(f"c{n}" for n in range(29, 10, -1))]
    assert 'href="/tasks/t-now"' in seen.text
    assert "Service overloaded" in seen.text


def test_names_of_tasks_and_models_are_text(on: Hub, open_browser: Open) -> None:
    save(on, call(on, "x", task_id=BAD, model=BAD, settled_at=on.now, outcome=BAD))
    text = open_browser(on).get("/takeover").text
    assert "<img" not in text
    assert "\u202e" not in text
    assert "\x1b" not in text
    assert "Failed" in text


def test_single_sources_have_their_own_line(start_hub: Start, open_browser: Open) -> None:
    hub = start_hub(policy=policy_of(mode="", sources=(("<b>mail", "notify"), ("slack", "interim"))))
    text = open_browser(hub).get("/takeover").text
    assert "It is on for these sources only" in text
    assert "&lt;b&gt;mail" in text
    assert "slack" in text


def test_without_calls_there_is_nothing_to_pause(start_hub: Start, open_browser: Open) -> None:
    seen = open_browser(start_hub(policy=policy_of(mode="notify"))).get("/takeover")
    assert seen.acts == []
    assert "makes no calls" in seen.text


def test_without_calls_a_pause_stops_nothing(start_hub: Start, open_browser: Open) -> None:
    hub = start_hub(policy=policy_of(mode="notify"))
    save(hub, TakeoverState(paused=1))
    assert open_browser(hub).get("/takeover").attribute("data-stop") == []


def test_every_reason_of_the_service_has_words(on: Hub) -> None:
    reasons = {reason for _, reason in [*claude._BY_STATUS.values(), *claude._BY_TYPE.values()]}
    assert {reason for reason in reasons if _known(OUTCOME, reason).endswith(".other")} == set()
    stops = {reason for kind, reason in [*claude._BY_STATUS.values(), *claude._BY_TYPE.values()] if kind == "stop"}
    assert {reason for reason in stops if _known(CIRCUIT, reason).endswith(".other")} == set()
    for language in LANGUAGES:
        assert all(f"{_known(CIRCUIT, reason)}.fix" in catalogue(language) for reason in stops)
