"""Section 3: heartbeats that renew what runs, say what is lost and cancelled, and tell boots and machines apart."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.hubs import HOUR, MINUTE, Hub
from tests.api.rows import OLD_BEAT, REGISTER
from tests.api.wire import ADMIN, at
from understudy.clock import iso


def running(*leases: Any, **more: Any) -> list[dict[str, Any]]:
    return [{"taskId": lease["taskId"], "token": lease["token"], **more} for lease in leases]


def leased(hub: Hub, **claim: Any) -> Any:
    """A daemon that has beaten and holds a new task."""
    hub.beat().of(200)
    hub.enqueue()
    return hub.daemon_lease(**claim)


def expiry(hub: Hub, lease: Any) -> int:
    return at(hub.task(lease["taskId"])["lease"]["expiresAt"])


# ---- what a beat answers


def test_a_beat_answers_with_what_a_daemon_needs_to_know(hub: Hub) -> None:
    answer = hub.beat().of(200)
    assert answer["success"] is True
    assert answer["timestamp"] == hub.now
    assert (answer["lost"], answer["cancel"], answer["directives"]) == ([], [], [])
    assert 0 < answer["nextInSec"] <= 60


def test_what_a_beat_says_is_shown(hub: Hub) -> None:
    lease = leased(hub)
    said: dict[str, Any] = {
        "intervalSec": 20,
        "version": "1.2.3",
        "capacity": 4,
        "provides": ["machine", "gpu"],
        "loops": {"claim": "2026-02-04T14:13:28.213Z"},
        "auth": {"claude": "ok"},
        "state": "running",
    }
    progress_at = "2026-02-04T14:13:28.213Z"
    hub.beat(**said, running=running(lease, progressAt=progress_at)).of(200)
    daemon = hub.daemon("mini")
    expected = {"daemonId": "mini", "state": "healthy", "bootId": "b1", **said}
    expected.pop("state")
    assert {name: daemon[name] for name in expected} == expected
    assert daemon["state"] == "healthy"
    assert daemon["running"] == [{"taskId": lease["taskId"], "token": lease["token"], "progressAt": progress_at}]
    assert at(daemon["lastSeenAt"]) == hub.now
    assert daemon["silentForSec"] == 0
    assert at(daemon["lateAt"]) == hub.now + 180_000
    assert at(daemon["downAt"]) == hub.now + 300_000
    hub.advance(2500)
    assert hub.daemon("mini")["silentForSec"] == 2.5


def test_a_beat_renews_what_runs_for_its_duration(hub: Hub) -> None:
    lease = leased(hub)
    for _ in range(10):
        hub.advance(20_000)
        answer = hub.beat(running=running(lease)).of(200)
        assert answer["lost"] == []
        assert expiry(hub, lease) == hub.now + 30_000
    assert hub.get(f"/api/queue/{lease['taskId']}").of(200)["status"] == "claimed"
    assert len(hub.task(lease["taskId"])["attempts"]) == 1


def test_a_shortened_lease_is_renewed_for_its_short_duration(hub: Hub) -> None:
    lease = leased(hub, leaseDurationSec=12)
    hub.advance(5_000)
    hub.beat(running=running(lease)).of(200)
    assert expiry(hub, lease) == hub.now + 12_000


def test_a_renewal_with_its_token_lasts_as_long_as_a_beats(hub: Hub) -> None:
    lease = leased(hub, leaseDurationSec=12)
    hub.advance(5_000)
    renewed = hub.post(f"/api/queue/{lease['taskId']}/renew", {"token": lease["token"]}).of(200)["lease"]
    assert at(renewed["expiresAt"]) == hub.now + 12_000
    assert at(renewed["renewedAt"]) == hub.now
    assert renewed["token"] == lease["token"]


@pytest.mark.parametrize(
    ("claim", "limit"), [({}, 10), ({"leaseDurationSec": 12}, 4), ({"onLoss": "wait"}, 100)], ids=str
)
@pytest.mark.parametrize("interval", [5, 10, 600])
def test_the_next_beat_comes_within_a_third_of_the_shortest_lease(
    hub: Hub, claim: Any, limit: int, interval: int
) -> None:
    lease = leased(hub, **claim)
    answer = hub.beat(running=running(lease), intervalSec=interval).of(200)
    assert 0 < answer["nextInSec"] <= limit


def test_the_shortest_of_several_leases_counts(hub: Hub) -> None:
    first = leased(hub, onLoss="wait")
    hub.enqueue()
    second = hub.daemon_lease(leaseDurationSec=6)
    assert hub.beat(running=running(first, second), intervalSec=10).of(200)["nextInSec"] <= 2


def test_a_lost_lease_is_named_as_lost(hub: Hub) -> None:
    lease = leased(hub)
    hub.advance(30_000)
    hub.lease("other")
    answer = hub.beat(running=running(lease)).of(200)
    assert answer["lost"] == [lease["taskId"]]
    assert answer["cancel"] == []


def test_what_is_unknown_finished_or_older_is_lost(hub: Hub) -> None:
    lease = leased(hub)
    hub.result(lease["taskId"], token=lease["token"], success=True).of(200)
    hub.enqueue("second")
    second = hub.daemon_lease()
    older = {"taskId": "second", "token": second["token"] - 1}
    named = [*running(lease), older, {"taskId": "unknown", "token": 7}]
    assert sorted(hub.beat(running=named).of(200)["lost"]) == sorted([lease["taskId"], "second", "unknown"])


def test_a_cancelled_task_is_named_as_cancelled(hub: Hub) -> None:
    lease = leased(hub)
    hub.post(f"/api/tasks/{lease['taskId']}/cancel").of(200)
    for _ in range(2):
        answer = hub.beat(running=running(lease)).of(200)
        assert (answer["cancel"], answer["lost"]) == ([lease["taskId"]], [])
    renewed = hub.post(f"/api/queue/{lease['taskId']}/renew", {"token": lease["token"]}).of(200)
    assert renewed["cancel"] is True


@pytest.mark.sqlite
def test_an_expired_lease_that_nobody_took_is_renewed_by_a_beat(hub: Hub) -> None:
    lease = leased(hub)
    hub.advance(HOUR // 2)
    assert hub.pending() == [lease["taskId"]]
    assert [one["outcome"] for one in hub.task(lease["taskId"])["attempts"]] == ["expired"]
    assert hub.beat(running=running(lease)).of(200)["lost"] == []
    assert hub.pending() == []
    (attempt,) = hub.task(lease["taskId"])["attempts"]
    assert (attempt["token"], attempt.keys() & {"endedAt", "outcome"}) == (lease["token"], set())


def test_a_beat_that_is_repeated_does_nothing_the_second_time(hub: Hub) -> None:
    lease = leased(hub)
    answers = [hub.beat(seq=50, running=running(lease)).of(200) for _ in range(2)]
    assert answers[0] == answers[1]
    assert len(hub.task(lease["taskId"])["attempts"]) == 1


# ---- `running` is the whole truth of a boot


def test_a_lease_once_named_and_then_missing_is_lost_at_once(hub: Hub) -> None:
    lease = leased(hub)
    hub.beat(running=running(lease)).of(200)
    hub.beat(running=[]).of(200)
    assert hub.pending() == [lease["taskId"]]
    task = hub.task(lease["taskId"])
    assert (task["losses"], task["attempts"][0]["outcome"]) == (1, "lost")
    assert hub.events("lease.lost")[0]["fields"]["taskId"] == lease["taskId"]


def test_a_lease_not_yet_named_is_not_lost_by_a_beat(hub: Hub) -> None:
    """The claim's answer may still be on its way."""
    lease = leased(hub)
    hub.beat(running=[]).of(200)
    assert hub.pending() == []
    hub.post(f"/api/queue/{lease['taskId']}/renew", {"token": lease["token"]}).of(200)


def test_a_late_beat_with_an_older_number_loses_nothing(hub: Hub) -> None:
    lease = leased(hub)
    hub.beat(seq=1000, running=running(lease)).of(200)
    for seq in (1000, 999):
        hub.beat(seq=seq, running=[]).of(200)
    assert hub.pending() == []
    hub.beat(seq=1001, running=[]).of(200)
    assert hub.pending() == [lease["taskId"]]


def test_a_beat_that_says_nothing_of_its_runs_loses_nothing(hub: Hub) -> None:
    lease = leased(hub)
    hub.beat(running=running(lease)).of(200)
    hub.beat().of(200)
    assert hub.pending() == []


# ---- boots


def test_a_new_boot_frees_the_leases_of_the_old_one_at_once(hub: Hub) -> None:
    lease = leased(hub)
    hub.beat(running=running(lease)).of(200)
    hub.beat(boot="b2", running=[]).of(200)
    assert hub.pending() == [lease["taskId"]]
    assert hub.daemon("mini")["bootId"] == "b2"


def test_a_new_boot_frees_also_what_was_never_named(hub: Hub) -> None:
    lease = leased(hub)
    hub.beat(boot="b2").of(200)
    assert hub.pending() == [lease["taskId"]]


def test_a_new_boot_may_go_on_with_a_run_that_it_names(hub: Hub) -> None:
    lease = leased(hub, onLoss="wait")
    hub.beat(running=running(lease)).of(200)
    assert hub.beat(boot="b2", running=running(lease)).of(200)["lost"] == []
    assert hub.get(f"/api/queue/{lease['taskId']}").of(200)["status"] == "claimed"
    hub.beat(boot="b2", running=running(lease)).of(200)
    hub.result(lease["taskId"], token=lease["token"], success=True).of(200)


def test_a_superseded_boot_is_refused_and_never_comes_back(hub: Hub) -> None:
    lease = leased(hub)
    hub.beat(boot="b2").of(200)
    for boot in ("b1", "b1"):
        assert hub.beat(boot=boot, running=running(lease)).of(409)["code"] == "superseded"
    hub.beat(boot="b3").of(200)
    for boot in ("b1", "b2"):
        assert hub.beat(boot=boot).of(409)["code"] == "superseded"
    assert hub.daemon("mini")["bootId"] == "b3"
    assert hub.pending() == [lease["taskId"]]


def test_a_result_of_a_superseded_boot_is_judged_by_its_token(hub: Hub) -> None:
    """A daemon that was restarted delivers what it had spooled."""
    lease = leased(hub)
    hub.beat(boot="b2").of(200)
    hub.result(lease["taskId"], token=lease["token"], success=True, output="spooled").of(200)
    assert hub.get(f"/api/result/{lease['taskId']}").of(200)["output"] == "spooled"


# ---- machines


def test_another_machine_does_not_get_the_id(hub: Hub) -> None:
    hub.beat(machine="m1").of(200)
    for _ in range(2):
        assert hub.beat(machine="m2", boot="x").of(409)["code"] == "id_taken"
    assert hub.daemon("mini")["bootId"] == "b1"
    cloned = hub.events("daemon.cloned")
    assert cloned
    assert cloned[0]["fields"]["daemonId"] == "mini"
    hub.beat(machine="m1").of(200)


@pytest.mark.sqlite
@pytest.mark.parametrize("how", ["down", "stopped"])
def test_the_id_moves_when_its_machine_is_down_or_stopped(hub: Hub, how: str) -> None:
    hub.beat(machine="m1", boot="b1").of(200)
    if how == "stopped":
        hub.beat(machine="m1", boot="b1", state="stopping").of(200)
    else:
        hub.advance(300_000)
    hub.beat(machine="m2", boot="b2").of(200)
    assert hub.events("daemon.moved")[0]["fields"]["daemonId"] == "mini"
    assert hub.daemon("mini")["bootId"] == "b2"
    assert hub.beat(machine="m1", boot="b1").of(409)["code"] == "id_taken"
    assert hub.beat(machine="m1", boot="b3").of(409)["code"] == "id_taken"


@pytest.mark.sqlite
@pytest.mark.parametrize("how", ["late", "paused", "draining"])
def test_the_id_does_not_move_for_less(hub: Hub, how: str) -> None:
    hub.beat(machine="m1").of(200)
    if how == "late":
        hub.advance(299_999)
    elif how == "paused":
        hub.post("/api/daemons/mini/pause", key=ADMIN).of(200)
    else:
        hub.beat(machine="m1", state="draining").of(200)
    assert hub.beat(machine="m2", boot="b2").of(409)["code"] == "id_taken"


def test_a_forgotten_id_is_free(hub: Hub) -> None:
    hub.beat(machine="m1").of(200)
    hub.delete("/api/daemons/mini", key=ADMIN).of(200)
    hub.get("/api/daemons/mini").of(404)
    hub.beat(machine="m2", boot="b2").of(200)


def test_a_request_without_a_machine_is_no_sign_of_life_of_a_bound_daemon(hub: Hub) -> None:
    hub.beat(machine="m1").of(200)
    for _ in range(4):
        hub.advance(MINUTE)
        hub.post("/api/queue/heartbeat", {"workerId": "mini"}).of(200)
        hub.claim("mini_1738591000000")
        hub.claim("mini")
        hub.post("/api/daemon/register", REGISTER).of(201)
        hub.post("/api/daemon/heartbeat", OLD_BEAT).of(200)
    assert hub.daemon("mini")["state"] == "late"


def test_the_moved_ids_old_leases_are_free(hub: Hub) -> None:
    lease = leased(hub)
    hub.beat(running=running(lease), state="stopping").of(200)
    hub.beat(machine="m2", boot="b2").of(200)
    assert hub.pending() == [lease["taskId"]]


# ---- states


@pytest.mark.sqlite
@pytest.mark.parametrize(("said", "state"), [("draining", "draining"), ("paused", "paused"), ("stopping", "stopped")])
def test_a_daemon_says_how_it_is_and_its_silence_is_judged_like_any_other(hub: Hub, said: str, state: str) -> None:
    hub.beat().of(200)
    hub.beat(state=said).of(200)
    assert hub.daemon("mini")["state"] == state
    assert [event["fields"]["daemonId"] for event in hub.events(f"daemon.{state}")] == ["mini"]
    hub.advance(180_000)
    assert [event["name"] for event in hub.events("daemon.late", "daemon.down")] == ["daemon.late"]
    hub.advance(120_000)
    assert [event["name"] for event in hub.events("daemon.late", "daemon.down")] == ["daemon.late", "daemon.down"]
    hub.beat(state="running").of(200)
    assert hub.daemon("mini")["state"] == "healthy"


@pytest.mark.sqlite
def test_a_restart_that_comes_back_in_time_says_nothing(hub: Hub) -> None:
    hub.beat().of(200)
    hub.beat(state="draining").of(200)
    hub.beat(state="stopping").of(200)
    hub.advance(170_000)
    hub.beat(boot="b2").of(200)
    assert hub.events("daemon.late", "daemon.down") == []
    assert hub.incidents() == []


@pytest.mark.sqlite
def test_a_planned_stop_is_quiet_and_ends(hub: Hub) -> None:
    hub.beat().of(200)
    hub.beat(state="stopping", plannedForSec=7200).of(200)
    shown = hub.daemon("mini")
    assert (shown["state"], shown["reason"]) == ("stopped", "planned")
    assert shown["quietUntil"] == iso(hub.now + 7_200_000)
    hub.advance(7_200_000 + 179_000)
    assert hub.events("daemon.late", "daemon.down") == []
    hub.advance(1_000)
    assert [event["name"] for event in hub.events("daemon.late")] == ["daemon.late"]
    hub.advance(120_000)
    assert len(hub.events("daemon.down")) == 1


@pytest.mark.sqlite
def test_new_settings_leave_the_end_of_a_planned_stop_alone(hub: Hub) -> None:
    hub.beat().of(200)
    hub.beat(state="stopping", plannedForSec=7200).of(200)
    until = hub.daemon("mini")["quietUntil"]
    hub.put("/api/daemons/mini/settings", {"lateAfterSec": 60}, key=ADMIN).of(200)
    assert hub.daemon("mini")["quietUntil"] == until
    hub.advance(HOUR)
    assert hub.events("daemon.late") == []


@pytest.mark.sqlite
def test_resume_takes_a_planned_stop_back(hub: Hub) -> None:
    hub.beat().of(200)
    hub.beat(state="stopping", plannedForSec=0).of(200)
    hub.advance(HOUR)
    hub.post("/api/daemons/mini/resume", key=ADMIN).of(200)
    hub.advance(180_000)
    assert len(hub.events("daemon.late")) == 1


@pytest.mark.sqlite
def test_a_pause_may_have_an_end_and_a_new_one(hub: Hub) -> None:
    hub.beat().of(200)
    hub.post("/api/daemons/mini/pause", {"forSec": 600}, key=ADMIN).of(200)
    hub.post("/api/daemons/mini/pause", {"forSec": 7200}, key=ADMIN).of(200)
    hub.advance(HOUR)
    assert hub.daemon("mini")["state"] == "paused"
    hub.advance(HOUR + 180_000)
    assert len(hub.events("daemon.late")) == 1


@pytest.mark.sqlite
def test_the_id_of_a_daemon_that_was_stopped_and_is_late_may_move(hub: Hub) -> None:
    hub.beat().of(200)
    hub.beat(state="stopping").of(200)
    hub.advance(200_000)
    assert hub.daemon("mini")["state"] == "late"
    hub.beat(machine="m2", boot="b2").of(200)
    assert len(hub.events("daemon.moved")) == 1


def test_a_stopping_daemon_gives_back_what_it_has_not_begun(hub: Hub) -> None:
    lease = leased(hub)
    hub.beat(state="stopping", running=[]).of(200)
    assert hub.pending() == [lease["taskId"]]


def test_leases_outlive_a_beat_of_another_daemon_that_names_them(hub: Hub) -> None:
    """Whoever knows the token is the worker: tokens are the proof, names are not."""
    lease = leased(hub)
    hub.beat("other", boot="o", machine="m2", running=[]).of(200)
    assert hub.pending() == []
    assert expiry(hub, lease) == hub.now + 30_000


def test_a_beat_with_a_wrong_shape_that_names_its_daemon_is_told_so(hub: Hub) -> None:
    refused = hub.beat(running=[{"taskId": "x"}], intervalSec=-1).of(400)
    assert {detail.split(": ")[0] for detail in refused["details"]} == {"running", "intervalSec"}
