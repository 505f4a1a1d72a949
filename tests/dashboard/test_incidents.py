"""The page of incidents: who is silent now and who has seen it, then what has ended and how long it took."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct

from tests.api.hubs import Hub
from tests.dashboard.browser import Browser
from understudy.coordinator.nouns import Incident

Open = Callable[..., Browser]
BAD = "<img src=x onerror=alert(1)>\u202egnp"


def save(hub: Hub, *rows: Struct) -> None:
    hub.store.transaction(lambda tx: tx.save_many(rows))


def ended(hub: Hub, n: int, daemon_id: str = "mini") -> Incident:
    at = hub.now - (100 - n) * 60_000
    return Incident(
        f"incident-{n}", daemon_id, "recovered", at, at, down_at=at + 1_000, recovered_at=at + 9_000,
        last_seen_at=at - 9, length_ms=65_000, missed_beats=7, acknowledged_by="owner", acknowledged_at=at + 2_000,
    )  # fmt: skip


def test_with_none_it_says_so(hub: Hub, admin: Browser) -> None:
    text = admin.get("/incidents").text
    assert "No daemon is silent." in text
    assert "No daemon has fallen silent so far." in text


def test_open_ones_come_first_then_those_that_have_ended(hub: Hub, admin: Browser) -> None:
    hub.beat("a")
    hub.advance(181_000)
    hub.beat("b", machine="m2")
    hub.advance(60_000)
    hub.beat("a")
    hub.advance(130_000)
    seen = admin.get("/incidents")
    assert list(zip(seen.attribute("data-daemon"), seen.attribute("data-state"), strict=True)) == [
        ("b", "late"),
        ("a", "recovered"),
    ]
    assert 'href="/daemons/b"' in seen.text
    assert "missed heartbeats" in seen.text
    assert "4 min" in seen.text, "the length of what has ended"


def test_an_incident_is_acknowledged_and_snoozed_here(hub: Hub, admin: Browser) -> None:
    hub.beat("mini")
    hub.advance(181_000)
    (incident,) = [row["id"] for row in hub.incidents()]
    seen = admin.get("/incidents")
    assert seen.attribute("data-incident") == [incident]
    assert set(seen.acts) == {f"/incidents/{incident}/acknowledge", f"/incidents/{incident}/snooze"}
    assert [value for value in seen.attribute("value") if value.isdecimal()] == ["3600", "28800"]
    assert admin.act(f"/incidents/{incident}/acknowledge", "/incidents").location == "/incidents"
    admin.act(f"/incidents/{incident}/snooze", "/incidents", forSec="28800")
    seen = admin.get("/incidents")
    assert "Acknowledged by" in seen.text
    assert "Reminders and escalations are paused until" in seen.text
    assert f"/incidents/{incident}/acknowledge" not in seen.acts
    admin.act(f"/incidents/{incident}/snooze", "/incidents", forSec="0")
    assert "Reminders and escalations are paused until" not in admin.get("/incidents").text


def test_who_may_look_sees_incidents_and_no_act(hub: Hub, reader: Browser) -> None:
    hub.beat("mini")
    hub.advance(181_000)
    seen = reader.get("/incidents")
    assert seen.attribute("data-daemon") == ["mini"]
    assert seen.acts == []


def test_the_page_follows_a_daemon_down_and_back(hub: Hub, admin: Browser) -> None:
    hub.beat("mini")
    stream = admin.stream("/incidents")
    assert "No daemon is silent." in stream.fragment("incidents")
    hub.advance(181_000)
    assert 'data-state="late"' in stream.fragment("incidents", "data-incident")
    hub.advance(130_000)
    assert "Down" in stream.fragment("incidents", 'data-state="down"')
    hub.beat("mini")
    assert "Back" in stream.fragment("incidents", 'data-state="recovered"')


def test_older_ones_are_a_page_further(hub: Hub, admin: Browser) -> None:
    save(hub, *[ended(hub, n) for n in range(60)])
    first = admin.get("/incidents")
    assert first.attribute("data-incident") == [f"incident-{n}" for n in range(59, 9, -1)]
    (older,) = [link for link in first.attribute("href") if "cursor=" in link]
    assert admin.get(older).attribute("data-incident") == [f"incident-{n}" for n in range(9, -1, -1)]
    assert admin.get("/incidents?cursor=x").status == 400


def test_one_has_an_address_of_its_own(hub: Hub, admin: Browser) -> None:
    save(hub, ended(hub, 1), ended(hub, 2))
    assert admin.get("/incidents?incident=incident-1").attribute("data-incident") == ["incident-1"]
    assert admin.get("/incidents?incident=nothing").status == 404


def test_what_comes_from_outside_is_text(hub: Hub, admin: Browser) -> None:
    save(hub, ended(hub, 1, BAD))
    text = admin.get("/incidents").text
    assert "<img" not in text
    assert "&lt;img src=x" in text
    assert "\\u202egnp</bdi>" in text
