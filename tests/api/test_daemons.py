"""Section 3 and 4: daemons as owners see and steer them; incidents."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.hubs import HOUR, MINUTE, Hub
from tests.api.wire import ADMIN, at


def steer(hub: Hub, verb: str, daemon_id: str = "mini") -> Any:
    return hub.post(f"/api/daemons/{daemon_id}/{verb}", key=ADMIN)


def settle(hub: Hub, **settings: Any) -> Any:
    return hub.put("/api/daemons/mini/settings", settings, key=ADMIN)


def test_daemons_are_listed_and_shown_alike(hub: Hub) -> None:
    assert hub.get("/api/daemons").of(200) == {"daemons": []}
    for name in ("a", "b"):
        hub.beat(name).of(200)
    listed = hub.get("/api/daemons").of(200)["daemons"]
    assert [daemon["daemonId"] for daemon in listed] == ["a", "b"]
    assert listed[0] == hub.daemon("a")
    promised = (
        "daemonId state lastSeenAt silentForSec lateAt downAt intervalSec version bootId capacity provides running"
    )
    assert set(promised.split()) <= listed[0].keys()
    assert "incidentId" not in listed[0]
    assert "reason" not in listed[0]


@pytest.mark.sqlite
def test_a_silent_daemon_names_its_incident(hub: Hub) -> None:
    hub.beat().of(200)
    hub.advance(180_000)
    daemon = hub.daemon("mini")
    assert daemon["state"] == "late"
    assert daemon["silentForSec"] == 180
    assert daemon["incidentId"] == hub.incidents()[0]["id"]


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "", None),
        ("POST", "/pause", None),
        ("POST", "/resume", None),
        ("PUT", "/settings", {"lateAfterSec": 60}),
        ("DELETE", "", None),
    ],
)
def test_an_unknown_daemon_is_not_found(hub: Hub, method: str, path: str, body: Any) -> None:
    more = () if body is None else (body,)
    assert hub.client.call(method, f"/api/daemons/unknown{path}", *more, key=ADMIN).of(404)["error"]


def test_daemons_with_odd_names_can_be_addressed(hub: Hub) -> None:
    hub.post("/api/queue/heartbeat", {"workerId": "Ada's Mac mini"}).of(200)
    assert hub.daemon("Ada%27s%20Mac%20mini")["daemonId"] == "Ada's Mac mini"


# ---- pause and resume


@pytest.mark.sqlite
def test_a_paused_daemon_gets_no_work_and_its_silence_is_not_judged(hub: Hub) -> None:
    hub.beat().of(200)
    hub.enqueue()
    assert steer(hub, "pause").of(200)["success"] is True
    assert hub.daemon("mini")["state"] == "paused"
    claim = {"workerId": "mini", "daemonId": "mini", "bootId": "b1"}
    assert hub.claim(**claim)["success"] is False
    hub.beat().of(200)
    assert hub.daemon("mini")["state"] == "paused"
    assert hub.claim(**claim)["success"] is False
    hub.advance(HOUR)
    assert hub.events("daemon.late", "daemon.down") == []
    steer(hub, "resume").of(200)
    hub.advance(179_999)
    assert hub.events("daemon.late") == []
    hub.advance(1)
    assert len(hub.events("daemon.late")) == 1


def test_a_resumed_daemon_gets_work(hub: Hub) -> None:
    hub.beat().of(200)
    task_id = hub.enqueue()
    steer(hub, "pause").of(200)
    steer(hub, "resume").of(200)
    hub.beat().of(200)
    assert hub.daemon("mini")["state"] == "healthy"
    assert hub.daemon_lease()["taskId"] == task_id


def test_a_paused_daemon_of_the_old_way_gets_no_work_either(hub: Hub) -> None:
    hub.post("/api/queue/heartbeat", {"workerId": "old_1738591000000"}).of(200)
    steer(hub, "pause", "old").of(200)
    hub.enqueue()
    assert hub.claim("old_1738599999999")["success"] is False


def test_pausing_and_resuming_twice_is_the_same_as_once(hub: Hub) -> None:
    hub.beat().of(200)
    for _ in range(2):
        steer(hub, "pause").of(200)
    assert len(hub.events("daemon.paused")) == 1
    for _ in range(2):
        steer(hub, "resume").of(200)
    assert hub.daemon("mini")["state"] == "healthy"


@pytest.mark.sqlite
def test_pausing_a_silent_daemon_closes_its_incident(hub: Hub) -> None:
    hub.beat().of(200)
    hub.advance(200_000)
    steer(hub, "pause").of(200)
    assert hub.incidents()[0]["state"] == "recovered"
    assert "incidentId" not in hub.daemon("mini")
    hub.advance(HOUR)
    assert hub.events("daemon.down") == []


# ---- settings


def test_a_daemon_is_judged_by_its_own_settings(hub: Hub) -> None:
    hub.beat().of(200)
    settle(hub, lateAfterSec=60, downAfterSec=90).of(200)
    hub.advance(59_999)
    assert hub.events("daemon.late") == []
    hub.advance(1)
    assert len(hub.events("daemon.late")) == 1
    hub.advance(29_999)
    assert hub.events("daemon.down") == []
    hub.advance(1)
    assert len(hub.events("daemon.down")) == 1


@pytest.mark.sqlite
def test_longer_settings_hold_from_now_on(hub: Hub) -> None:
    hub.beat().of(200)
    settle(hub, lateAfterSec=3600, downAfterSec=7200).of(200)
    hub.advance(3_599_999)
    assert hub.events("daemon.late") == []
    hub.advance(1)
    assert len(hub.events("daemon.late")) == 1


@pytest.mark.sqlite
def test_stricter_settings_are_applied_to_a_silence_that_has_begun(hub: Hub) -> None:
    hub.beat().of(200)
    hub.advance(100_000)
    settle(hub, lateAfterSec=60, downAfterSec=300).of(200)
    hub.advance(1)
    assert len(hub.events("daemon.late")) == 1


@pytest.mark.sqlite
def test_expected_sleep_makes_no_alarm(hub: Hub) -> None:
    # the clock of the test starts at 02:40 UTC
    settings = {"expectedSleep": [{"from": "02:00", "to": "04:00", "tz": "UTC"}]}
    hub.beat().of(200)
    settle(hub, **settings).of(200)
    hub.advance(HOUR)
    assert hub.daemon("mini")["state"] == "asleep"
    assert hub.events("daemon.late", "daemon.down") == []
    assert [event["fields"]["daemonId"] for event in hub.events("daemon.asleep")] == ["mini"]
    hub.beat(sleptSec=3590).of(200)
    assert hub.daemon("mini")["state"] == "healthy"
    assert hub.incidents() == []


@pytest.mark.sqlite
def test_a_window_in_another_zone_is_another_window(hub: Hub) -> None:
    hub.beat().of(200)
    settle(hub, expectedSleep=[{"from": "02:00", "to": "04:00", "tz": "Asia/Tokyo"}]).of(200)
    hub.advance(180_000)
    assert len(hub.events("daemon.late")) == 1


@pytest.mark.sqlite
def test_a_sleeper_that_does_not_come_back_is_missed_when_its_window_is_over(hub: Hub) -> None:
    hub.beat().of(200)
    settle(hub, expectedSleep=[{"from": "02:00", "to": "03:00", "tz": "UTC"}]).of(200)
    wakes_at = at("2026-02-02T03:00:00.000Z")
    hub.advance(wakes_at + 180_000 - 1 - hub.now)
    assert hub.daemon("mini")["state"] == "asleep"
    hub.advance(1)
    assert hub.daemon("mini")["state"] == "late"
    (late,) = hub.events("daemon.late")
    assert at(late["fields"]["deadlineAt"]) == hub.now
    hub.advance(119_999)
    assert hub.events("daemon.down") == []
    hub.advance(1)
    assert len(hub.events("daemon.down")) == 1
    hub.beat().of(200)
    assert hub.incidents()[0]["state"] == "recovered"


# ---- forget


@pytest.mark.sqlite
def test_a_forgotten_daemon_is_gone_and_what_it_held_is_free(hub: Hub) -> None:
    hub.beat().of(200)
    task_id = hub.enqueue()
    hub.daemon_lease()
    hub.delete("/api/daemons/mini", key=ADMIN).of(200)
    hub.get("/api/daemons/mini").of(404)
    assert hub.pending() == [task_id]
    hub.advance(HOUR)
    assert hub.events("daemon.late") == []


@pytest.mark.sqlite
def test_forgetting_a_silent_daemon_closes_its_incident(hub: Hub) -> None:
    hub.beat().of(200)
    hub.advance(HOUR)
    hub.delete("/api/daemons/mini", key=ADMIN).of(200)
    assert hub.incidents()[0]["state"] == "recovered"


# ---- incidents


@pytest.mark.sqlite
def test_an_incident_has_the_promised_shape_from_late_to_recovered(hub: Hub) -> None:
    beat_at = hub.now
    hub.beat(intervalSec=10).of(200)
    hub.advance(180_000)
    (late,) = hub.incidents()
    assert (late["daemonId"], late["state"]) == ("mini", "late")
    assert at(late["openedAt"]) == at(late["lateAt"]) == beat_at + 180_000
    assert not {"downAt", "recoveredAt", "lengthSec", "missedBeats", "acknowledgedBy"} & late.keys()
    hub.advance(120_000)
    (down,) = hub.incidents()
    assert (down["id"], down["state"], at(down["downAt"])) == (late["id"], "down", beat_at + 300_000)
    hub.advance(60_000)
    hub.beat().of(200)
    (over,) = hub.incidents()
    assert (over["id"], over["state"], at(over["recoveredAt"])) == (late["id"], "recovered", beat_at + 360_000)
    assert over["lengthSec"] == 360
    assert over["missedBeats"] == 35


@pytest.mark.sqlite
def test_incidents_are_listed_newest_first_with_a_cursor(hub: Hub) -> None:
    for n in range(5):
        hub.beat(f"d{n}").of(200)
        hub.advance(1000)
    hub.advance(10 * MINUTE)
    assert [incident["daemonId"] for incident in hub.incidents()] == ["d4", "d3", "d2", "d1", "d0"]
    seen, query = [], "?limit=2"
    for _ in range(3):
        page = hub.get(f"/api/incidents{query}").of(200)
        seen += [incident["daemonId"] for incident in page["incidents"]]
        query = f"?limit=2&cursor={page.get('next')}"
    assert seen == ["d4", "d3", "d2", "d1", "d0"]
    assert "next" not in page


@pytest.mark.sqlite
def test_an_incident_is_acknowledged_by_the_first_who_sees_it(hub: Hub) -> None:
    hub.beat().of(200)
    hub.advance(180_000)
    incident_id = hub.incidents()[0]["id"]
    hub.post(f"/api/incidents/{incident_id}/acknowledge", {"by": "ada"}, key=ADMIN).of(200)
    assert hub.incidents()[0]["acknowledgedBy"] == "ada"
    hub.post(f"/api/incidents/{incident_id}/acknowledge", {"by": "bob"}, key=ADMIN).of(200)
    assert hub.incidents()[0]["acknowledgedBy"] == "ada"
    hub.advance(120_000)
    assert hub.incidents()[0]["state"] == "down"
    assert hub.incidents()[0]["acknowledgedBy"] == "ada"


@pytest.mark.sqlite
def test_an_acknowledgement_without_a_name_is_the_keys(hub: Hub) -> None:
    hub.beat().of(200)
    hub.advance(180_000)
    hub.post(f"/api/incidents/{hub.incidents()[0]['id']}/acknowledge", key=ADMIN).of(200)
    assert hub.incidents()[0]["acknowledgedBy"]


def test_an_unknown_incident_is_not_found(hub: Hub) -> None:
    hub.post("/api/incidents/unknown/acknowledge", key=ADMIN).of(404)
    refused = hub.post("/api/incidents/not%20an%20id/acknowledge", key=ADMIN).of(400)
    assert refused["details"]


@pytest.mark.parametrize(
    "window",
    [
        {"from": "22:00", "to": "22:00", "tz": "UTC"},
        {"from": "22:00", "to": "07:00", "tz": "Tokyo"},
        {"from": "22:00", "to": "07:00", "tz": "../UTC"},
        {"from": "22", "to": "07:00", "tz": "UTC"},
        {"from": "24:00", "to": "07:00", "tz": "UTC"},
        {"from": "23:00", "to": "07:60", "tz": "UTC"},
    ],
)
def test_windows_that_mean_nothing_are_refused(hub: Hub, window: dict[str, str]) -> None:
    hub.beat("mini")
    refused = settle(hub, expectedSleep=[window]).of(400)
    assert any("expectedSleep" in detail for detail in refused["details"])
    assert hub.daemon("mini")["settings"]["expectedSleep"] == []
