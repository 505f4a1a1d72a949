"""Section 3, heartbeat: a daemon that beats and cannot work is stuck, says why, and is healthy once that is over."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.hubs import HOUR, Hub
from tests.api.wire import ADMIN

DEAD = {"claim": {"agoSec": 130, "limitSec": 120}, "report": {"agoSec": 1, "limitSec": 180}}
ALIVE = {"claim": {"agoSec": 10, "limitSec": 120}, "report": {"agoSec": 1, "limitSec": 180}}


def test_a_stopped_loop_makes_a_daemon_stuck_though_its_beats_arrive(hub: Hub) -> None:
    hub.beat(loops=ALIVE).of(200)
    assert hub.daemon("mini")["state"] == "healthy"
    for _ in range(3):
        hub.beat(loops=DEAD).of(200)
    daemon = hub.daemon("mini")
    assert daemon["state"] == "stuck"
    assert daemon["reason"] == "its claim loop made no progress for more than 120 s"
    assert daemon["stuck"] == {"code": "loop_stopped", "what": "claim", "limitSec": 120}
    (event,) = hub.events("daemon.stuck")
    assert event["level"] == "warning"
    assert event["fields"] == {
        "daemonId": "mini",
        "reason": daemon["reason"],
        "code": "loop_stopped",
        "what": "claim",
        "limitSec": 120,
    }
    hub.beat(loops=ALIVE).of(200)
    daemon = hub.daemon("mini")
    assert (daemon["state"], "reason" in daemon, "stuck" in daemon) == ("healthy", False, False)
    assert len(hub.events("daemon.recovered")) == 1


def test_another_reason_is_another_event(hub: Hub) -> None:
    hub.beat(loops=DEAD).of(200)
    hub.beat(loops={"guard": {"agoSec": 61, "limitSec": 60}}).of(200)
    assert [event["fields"]["what"] for event in hub.events("daemon.stuck")] == ["claim", "guard"]


@pytest.mark.sqlite
def test_a_stuck_daemon_that_falls_silent_is_late_and_down_all_the_same(hub: Hub) -> None:
    hub.beat(loops=DEAD).of(200)
    hub.advance(180_000)
    assert hub.daemon("mini")["state"] == "late"
    hub.advance(120_000)
    assert hub.daemon("mini")["state"] == "down"
    hub.beat(loops=DEAD).of(200)
    assert hub.daemon("mini")["state"] == "stuck"
    assert [event["name"] for event in hub.events("daemon.stuck", "daemon.recovered", "daemon.down")] == [
        "daemon.stuck",
        "daemon.down",
        "daemon.recovered",
        "daemon.stuck",
    ]


def test_a_run_that_shows_no_sign_beyond_its_own_limit_makes_its_daemon_stuck(hub: Hub) -> None:
    hub.beat().of(200)
    hub.enqueue("t1")
    lease = hub.daemon_lease()
    running = {"taskId": "t1", "token": lease["token"], "idleSec": 660, "idleLimitSec": 660}
    hub.beat(running=[running]).of(200)
    assert hub.daemon("mini")["state"] == "healthy"
    hub.beat(running=[running | {"idleSec": 661}]).of(200)
    daemon = hub.daemon("mini")
    assert (daemon["state"], daemon["stuck"]["code"], daemon["stuck"]["what"]) == ("stuck", "task_stalled", "t1")
    assert daemon["running"][0]["idleSec"] == 661


def test_a_failed_login_is_critical_once_and_names_its_mend(hub: Hub) -> None:
    hub.beat(auth={"claude_code": "ok"}).of(200)
    for _ in range(3):
        hub.beat(auth={"claude_code": "expired"}).of(200)
    daemon = hub.daemon("mini")
    assert daemon["state"] == "stuck"
    assert daemon["stuck"] == {
        "code": "auth_failed",
        "what": "claude_code",
        "state": "expired",
        "mend": "claude setup-token",
    }
    (event,) = hub.events("daemon.auth_failed")
    assert (event["level"], event["fields"]["mend"]) == ("critical", "claude setup-token")
    hub.beat(boot="b2").of(200)  # started anew: it has not asked yet, nothing is mended
    assert hub.daemon("mini")["state"] == "healthy"
    hub.beat(boot="b2", loops=ALIVE).of(200)
    assert hub.daemon("mini")["state"] == "stuck"
    hub.beat(boot="b2", auth={"claude_code": "expired"}).of(200)
    assert len(hub.events("daemon.auth_failed")) == 1
    hub.beat(boot="b2", auth={"claude_code": "ok"}).of(200)
    assert hub.daemon("mini")["state"] == "healthy"
    assert len(hub.events("daemon.auth_restored")) == 1


def test_a_token_that_ends_soon_is_a_warning_and_no_trouble(hub: Hub) -> None:
    for _ in range(2):
        hub.beat(auth={"claude_code": "expiring:2026-03-01"}).of(200)
    assert hub.daemon("mini")["state"] == "healthy"
    (event,) = hub.events("daemon.token_expiring")
    assert (event["level"], event["fields"]["detail"]) == ("warning", "2026-03-01")


@pytest.mark.parametrize("state", ["draining", "paused", "stopping"])
def test_what_a_daemon_chose_outranks_what_its_loops_say(hub: Hub, state: str) -> None:
    hub.beat(loops=DEAD, state=state).of(200)
    assert hub.daemon("mini")["state"] != "stuck"
    assert hub.events("daemon.stuck") == []


def test_a_paused_daemon_is_not_called_stuck(hub: Hub) -> None:
    hub.beat().of(200)
    hub.post("/api/daemons/mini/pause", key=ADMIN).of(200)
    hub.beat(loops=DEAD).of(200)
    assert hub.daemon("mini")["state"] == "paused"


def test_a_claim_of_the_old_way_does_not_mend_a_stuck_daemon(hub: Hub) -> None:
    hub.post("/api/queue/heartbeat", {"workerId": "old_1738591000000", "loops": DEAD}).of(200)
    assert hub.daemon("old")["state"] == "stuck"
    hub.claim("old_1738591000000")
    assert hub.daemon("old")["state"] == "stuck"
    assert hub.daemon("old")["reason"]


@pytest.mark.sqlite
def test_a_daemon_that_is_started_again_and_again_is_told_once_an_hour(hub: Hub) -> None:
    starts = iter(range(1, 200))

    def start(count: int) -> None:
        boot: Any = f"b{next(starts):03}"
        hub.beat(boot=boot, startsLastHour=count).of(200)

    for count in range(1, 9):
        start(count)
    (event,) = hub.events("daemon.restarting")
    assert (event["level"], event["fields"]["startsLastHour"]) == ("warning", 6)
    hub.advance(HOUR)
    start(9)
    assert len(hub.events("daemon.restarting")) == 2
