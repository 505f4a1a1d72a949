"""Section 3, directives: asked by an admin, brought by the answers to beats, done once, ended or expired."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.hubs import MINUTE, Hub
from tests.api.wire import ADMIN, OWNER, Answer

SHA = "ab" * 32
UPDATE = {"kind": "update", "version": "0.2.0"}


def ask(hub: Hub, kind: str = "drain", daemon_id: str = "mini", **more: Any) -> Answer:
    return hub.post(f"/api/daemons/{daemon_id}/directives", {"kind": kind, **more}, key=ADMIN)


def asked(hub: Hub, kind: str = "drain", **more: Any) -> str:
    """A directive for a daemon that has beaten; its id."""
    hub.beat().of(200)
    directive_id: str = ask(hub, kind, **more).of(201)["id"]
    return directive_id


def offered(hub: Hub, **more: Any) -> Any:
    return hub.beat(**more).of(200)["directives"]


def shown(hub: Hub) -> Any:
    return hub.daemon("mini")["directives"][0]


def told(hub: Hub) -> list[str]:
    names = [f"directive.{word}" for word in ("asked", "delivered", "done", "failed", "expired")]
    return [event["name"].partition(".")[2] for event in hub.events(*names)]


def test_a_directive_comes_with_each_answer_until_a_beat_names_it(hub: Hub) -> None:
    directive = asked(hub)
    assert offered(hub) == [{"id": directive, "kind": "drain", "expiresInSec": 600}]
    assert [entry["id"] for entry in offered(hub)] == [directive]
    assert offered(hub, directives=[{"id": directive, "state": "started"}]) == []
    assert offered(hub) == []
    assert shown(hub)["state"] == "started"
    hub.beat(directives=[{"id": directive, "state": "done", "detail": "nothing runs"}]).of(200)
    assert (shown(hub)["state"], shown(hub)["detail"]) == ("done", "nothing runs")
    assert told(hub) == ["asked", "delivered", "done"]


def test_events_tell_who_asked_for_what(hub: Hub) -> None:
    directive = asked(hub, **UPDATE)
    (event,) = hub.events("directive.asked")
    assert event["fields"] == {
        "directiveId": directive,
        "daemonId": "mini",
        "kind": "update",
        "by": "env:ADMIN_API_KEY",
        "version": "0.2.0",
    }
    assert shown(hub)["askedBy"] == "env:ADMIN_API_KEY"


def test_a_signed_url_goes_to_the_daemon_and_nobody_else(hub: Hub) -> None:
    url = "https://example.org/x-1-py3-none-any.whl"
    asked(hub, "update", wheel=f"{url}?signature=secret", sha256=SHA.upper())
    assert offered(hub)[0]["wheel"] == f"{url}?signature=secret"
    assert offered(hub)[0]["sha256"] == SHA
    assert shown(hub)["wheel"] == url
    assert "secret" not in str(hub.events("directive.asked", "directive.delivered"))


def test_a_failure_is_a_warning_with_its_reason(hub: Hub) -> None:
    directive = asked(hub, **UPDATE)
    offered(hub)
    hub.beat(directives=[{"id": directive, "state": "failed", "detail": "its SHA-256 is another"}]).of(200)
    (event,) = hub.events("directive.failed")
    assert (event["level"], event["fields"]["detail"]) == ("warning", "its SHA-256 is another")


@pytest.mark.parametrize(("waited_ms", "is_expired"), [(594_999, False), (595_000, True)])
def test_a_directive_that_nobody_takes_expires(hub: Hub, waited_ms: int, is_expired: bool) -> None:
    asked(hub, expiresSec=595)
    hub.advance(waited_ms)
    assert (shown(hub)["state"] == "expired") == is_expired
    assert (offered(hub) == []) == is_expired
    assert ("expired" in told(hub)) == is_expired


@pytest.mark.sqlite
def test_what_has_expired_is_not_offered_even_if_the_alarm_has_not_rung_yet(hub: Hub) -> None:
    asked(hub)
    hub.advance(599_500)
    hub.clock.advance(1_000)
    assert offered(hub) == []


def test_a_directive_expires_at_a_hub_where_nothing_else_is_due(hub: Hub) -> None:
    hub.beat(state="stopping").of(200)
    ask(hub, expiresSec=30).of(201)
    hub.advance(30_000)
    assert shown(hub)["state"] == "expired"


@pytest.mark.sqlite
def test_a_started_one_is_not_expired_but_fails_if_nothing_more_is_heard(hub: Hub) -> None:
    directive = asked(hub, "restart")
    offered(hub)
    hub.beat(directives=[{"id": directive, "state": "started"}]).of(200)
    hub.advance(24 * MINUTE)
    assert shown(hub)["state"] == "started"
    hub.advance(MINUTE)
    assert shown(hub)["state"] == "failed"
    assert told(hub) == ["asked", "delivered", "failed"]


@pytest.mark.sqlite
def test_a_restart_within_an_hour_may_wait_for_a_run_of_forty_minutes(hub: Hub) -> None:
    directive = asked(hub, "restart", expiresSec=3600)
    offered(hub)
    hub.beat(directives=[{"id": directive, "state": "started"}]).of(200)
    for _ in range(20):
        hub.advance(2 * MINUTE)
        hub.beat(state="draining").of(200)
    hub.beat(state="stopping").of(200)
    assert hub.daemon("mini")["state"] == "healthy"  # it comes back
    hub.beat(boot="b2", directives=[{"id": directive, "state": "done"}]).of(200)
    assert (shown(hub)["state"], told(hub)) == ("done", ["asked", "delivered", "done"])


@pytest.mark.sqlite
@pytest.mark.parametrize("is_paused", [False, True])
def test_a_drain_that_waits_for_a_run_of_forty_minutes_is_done(hub: Hub, is_paused: bool) -> None:
    directive = asked(hub)
    if is_paused:
        hub.post("/api/daemons/mini/pause", key=ADMIN).of(200)
    offered(hub)
    hub.beat(state="draining", directives=[{"id": directive, "state": "started"}]).of(200)
    for _ in range(20):
        hub.advance(2 * MINUTE)
        hub.beat(state="draining").of(200)
    hub.beat(state="draining", directives=[{"id": directive, "state": "done"}]).of(200)
    assert (shown(hub)["state"], told(hub)) == ("done", ["asked", "delivered", "done"])


@pytest.mark.sqlite
def test_a_drain_of_a_daemon_that_is_not_heard_any_more_fails_although_it_is_paused(hub: Hub) -> None:
    directive = asked(hub)
    hub.post("/api/daemons/mini/pause", key=ADMIN).of(200)
    offered(hub)
    hub.beat(state="draining", directives=[{"id": directive, "state": "started"}]).of(200)
    hub.advance(25 * MINUTE)
    assert (shown(hub)["state"], hub.daemon("mini")["state"]) == ("failed", "paused")


@pytest.mark.sqlite
def test_what_has_ended_stays_as_it_is(hub: Hub) -> None:
    directive = asked(hub)
    hub.advance(10 * MINUTE)
    hub.beat(directives=[{"id": directive, "state": "done"}]).of(200)
    assert shown(hub)["state"] == "expired"


@pytest.mark.parametrize("kind", ["restart", "update"])
def test_only_another_boot_can_say_that_a_restart_is_done(hub: Hub, kind: str) -> None:
    directive = asked(hub, **({"kind": kind} | (UPDATE if kind == "update" else {})))
    offered(hub)
    done = {"id": directive, "state": "done"}
    hub.beat(directives=[done]).of(200)
    assert shown(hub)["state"] == "delivered"
    hub.beat(boot="b2", directives=[done]).of(200)
    assert shown(hub)["state"] == "done"
    (event,) = hub.events("directive.done")
    assert event["fields"]["bootId"] == "b2"


@pytest.mark.sqlite
def test_a_daemon_that_goes_in_order_to_come_back_is_still_judged(hub: Hub) -> None:
    directive = asked(hub, "restart")
    offered(hub)
    hub.beat(state="stopping", directives=[{"id": directive, "state": "started"}]).of(200)
    assert hub.daemon("mini")["state"] == "healthy"
    hub.advance(180_000)
    assert hub.daemon("mini")["state"] == "late"


def test_a_daemon_that_stops_for_good_is_not_judged(hub: Hub) -> None:
    asked(hub, "drain")
    hub.beat(state="stopping").of(200)
    assert hub.daemon("mini")["state"] == "stopped"


def test_asking_twice_for_the_same_is_asking_once(hub: Hub) -> None:
    directive = asked(hub)
    again = ask(hub).of(200)
    assert (again["id"], again["created"]) == (directive, False)
    assert ask(hub, "resume").of(201)["created"] is True
    assert told(hub) == ["asked", "asked"]


@pytest.mark.sqlite
def test_a_daemon_has_at_most_eight_open_directives(hub: Hub) -> None:
    hub.beat().of(200)
    for n in range(8):
        ask(hub, "update", version=f"0.{n}").of(201)
    assert ask(hub, "update", version="0.9").of(409)["code"] == "too_many"
    hub.advance(10 * MINUTE)
    ask(hub, "update", version="0.9").of(201)


def test_directives_of_one_batch_of_beats_go_to_their_own_daemons(hub: Hub) -> None:
    asked(hub)
    hub.beat("other", machine="m2").of(200)
    assert hub.beat("other", machine="m2").of(200)["directives"] == []
    assert len(offered(hub)) == 1


def test_forgetting_a_daemon_ends_its_directives(hub: Hub) -> None:
    asked(hub)
    hub.delete("/api/daemons/mini", key=ADMIN).of(200)
    assert told(hub) == ["asked", "expired"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"kind": "explode"}, "kind"),
        ({}, "kind"),
        ({"kind": "update"}, "version"),
        ({"kind": "update", "version": "1", "wheel": "/x.whl", "sha256": SHA}, "version"),
        ({"kind": "update", "wheel": "https://example.org/x.whl"}, "sha256"),
        ({"kind": "update", "wheel": "x.whl", "sha256": SHA}, "wheel"),
        ({"kind": "update", "wheel": "ftp://example.org/x.whl", "sha256": SHA}, "wheel"),
        ({"kind": "update", "wheel": "/x.whl", "sha256": "abc"}, "sha256"),
        ({"kind": "update", "wheel": "https://me:secret@example.org/x.whl", "sha256": SHA}, "wheel"),
        ({"kind": "update", "version": "--pre"}, "version"),
        ({"kind": "update", "version": "1.0\n"}, "version"),
        ({"kind": "update", "wheel": "/x.whl", "sha256": SHA + "\n"}, "sha256"),
        ({"kind": "drain", "version": "1"}, "version"),
        ({"kind": "drain", "expiresSec": 9}, "expiresSec"),
        ({"kind": "drain", "expiresSec": 86_401}, "expiresSec"),
    ],
    ids=str,
)
def test_what_makes_no_sense_is_refused_by_field(hub: Hub, body: Any, field: str) -> None:
    hub.beat().of(200)
    answer = hub.post("/api/daemons/mini/directives", body, key=ADMIN).of(400)
    assert any(field in detail for detail in answer["details"]), answer


def test_only_an_admin_may_ask(hub: Hub) -> None:
    hub.beat().of(200)
    assert hub.post("/api/daemons/mini/directives", {"kind": "drain"}, key=OWNER).of(403)["code"] == "scope"


def test_an_unknown_daemon_is_not_found_and_an_old_one_cannot(hub: Hub) -> None:
    ask(hub, daemon_id="nobody").of(404)
    hub.post("/api/queue/heartbeat", {"workerId": "old_1738591000000"}).of(200)
    assert ask(hub, daemon_id="old").of(409)["code"] == "not_able"


def test_a_beat_of_another_machine_gets_no_directive(hub: Hub) -> None:
    asked(hub)
    hub.beat(machine="m2", boot="b9").of(409)
    assert "delivered" not in told(hub)


def test_more_reports_than_a_beat_may_have_are_refused(hub: Hub) -> None:
    report = {"id": "d1", "state": "done"}
    hub.beat(directives=[report] * 16).of(200)
    hub.beat(directives=[report] * 17).of(400)
