"""On a simulated clock: late, down, recovered; what a hub's own absence or a jump of its clock changes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.api.hubs import DAY, HOUR, MINUTE, Hub, KeptStore
from tests.api.wire import ADMIN, at

LATE, DOWN = 180_000, 300_000
LIVE = [f"live{n}" for n in range(3)]


def told(hub: Hub, name: str) -> list[tuple[str, int]]:
    """Who was reported, and when."""
    return [(event["fields"]["daemonId"], at(event["at"])) for event in hub.events(name)]


def live(hub: Hub, ms: int, *names: str, every: int = 10_000) -> None:
    """Time passes in which these daemons beat."""
    end = hub.clock.mono_ms() + ms
    while (left := end - hub.clock.mono_ms()) > 0:
        hub.advance(min(every, left))
        for name in names:
            hub.beat(name, intervalSec=every / 1000).of(200)


# ---- late, down, recovered


def test_a_daemon_is_late_and_down_to_the_millisecond(hub: Hub) -> None:
    beat_at = hub.now
    hub.beat().of(200)
    hub.advance(LATE - 1)
    assert told(hub, "daemon.late") == []
    assert hub.daemon("mini")["state"] == "healthy"
    hub.advance(1)
    assert told(hub, "daemon.late") == [("mini", beat_at + LATE)]
    assert hub.daemon("mini")["state"] == "late"
    hub.advance(DOWN - LATE - 1)
    assert told(hub, "daemon.down") == []
    hub.advance(1)
    assert told(hub, "daemon.down") == [("mini", beat_at + DOWN)]
    assert hub.daemon("mini")["state"] == "down"
    assert [event["level"] for event in hub.events("daemon.late", "daemon.down")] == ["warning", "critical"]


@pytest.mark.sqlite
def test_only_changes_speak(hub: Hub) -> None:
    hub.beat().of(200)
    hub.advance(3 * HOUR)
    assert len(told(hub, "daemon.late")) == len(told(hub, "daemon.down")) == 1
    assert len(hub.incidents()) == 1


def test_a_beat_in_the_last_millisecond_is_in_time(hub: Hub) -> None:
    for _ in range(3):
        hub.beat().of(200)
        hub.advance(LATE - 1)
    assert told(hub, "daemon.late") == []


@pytest.mark.parametrize("silent", [LATE, DOWN - 1, DOWN, HOUR])
def test_a_return_is_told_once_with_its_length(hub: Hub, silent: int) -> None:
    hub.beat().of(200)
    hub.advance(silent)
    for _ in range(3):
        hub.beat().of(200)
    (event,) = hub.events("daemon.recovered")
    assert event["level"] == "info"
    assert event["fields"]["daemonId"] == "mini"
    assert event["fields"]["lengthSec"] == silent / 1000
    assert hub.daemon("mini")["state"] == "healthy"
    (incident,) = hub.incidents()
    assert (incident["state"], incident["lengthSec"]) == ("recovered", silent / 1000)


def test_the_next_silence_is_the_next_incident(hub: Hub) -> None:
    for n in range(1, 4):
        hub.beat().of(200)
        hub.advance(DOWN)
        assert len(told(hub, "daemon.late")) == len(told(hub, "daemon.down")) == n
        assert len(hub.incidents()) == n


def test_each_daemon_is_judged_on_its_own(hub: Hub) -> None:
    expected = []
    for n in range(5):
        hub.beat(f"d{n}").of(200)
        expected.append((f"d{n}", hub.now + LATE))
        hub.advance(1_234)
    hub.advance(LATE)
    assert told(hub, "daemon.late") == expected


@pytest.mark.sqlite
@pytest.mark.parametrize(("interval", "late_s"), [(1, 180), (90, 180), (91, 182), (120, 240), (600, 1200)])
def test_an_announced_longer_interval_stretches_late_and_down_keeps_its_distance(
    hub: Hub, interval: int, late_s: int
) -> None:
    for _ in range(3):
        beat_at = hub.now
        hub.beat(intervalSec=interval).of(200)
        hub.advance(1000)
    hub.advance(2 * HOUR)
    assert told(hub, "daemon.late") == [("mini", beat_at + late_s * 1000)]
    assert told(hub, "daemon.down") == [("mini", beat_at + late_s * 1000 + DOWN - LATE)]
    said = hub.get("/api/events?search=beats%20every").of(200)["events"]
    assert len(said) == (1 if late_s > 180 else 0), "said once"


def test_a_running_task_is_no_substitute_for_a_sign_of_life(hub: Hub) -> None:
    hub.beat().of(200)
    hub.enqueue()
    hub.daemon_lease(onLoss="wait")
    hub.advance(LATE)
    assert len(told(hub, "daemon.late")) == 1


def test_three_daemons_falling_silent_together_make_the_hub_suspect_as_well(hub: Hub) -> None:
    for n in range(2):
        hub.beat(f"d{n}").of(200)
        hub.advance(10_000)
    hub.advance(LATE)
    assert hub.events("hub.suspect") == []
    for n in range(3):
        hub.beat(f"d{n}").of(200)
        hub.advance(10_000)
    hub.advance(LATE)
    assert len(hub.events("hub.suspect")) == 1
    assert len(told(hub, "daemon.late")) == 5, "it replaces none"


# ---- the hub's own absence


@pytest.fixture(params=["frozen", "restarted"])
def be_away(request: pytest.FixtureRequest, kept_store: KeptStore, start_hub: Callable[..., Hub]) -> Any:
    """A hub, and a way for it to be away."""
    hub = start_hub(store=kept_store)

    def away(ms: int) -> Hub:
        if request.param == "frozen":
            hub.freeze(ms)
            return hub
        hub.begin_stop().result(60)
        hub.clock.advance(ms)
        again = start_hub(store=kept_store, clock=hub.clock)
        again._seqs = hub._seqs
        again.advance(0)
        return again

    return hub, away


@pytest.mark.sqlite
@pytest.mark.parametrize("beats_after", [0, 10_000])
def test_the_grace_after_a_gap_ends_with_the_next_sign_of_life(be_away: Any, beats_after: int) -> None:
    """An old daemon announces no interval, so its grace is 300 s; once it was heard its WARNING comes after 180 s."""
    hub, away = be_away
    hub.post("/api/queue/heartbeat", {"workerId": "old"}).of(200)
    hub.advance(LATE - 5_000)
    hub = away(HOUR)
    hub.advance(beats_after)
    hub.post("/api/queue/heartbeat", {"workerId": "old"}).of(200)
    heard_at = hub.now
    hub.advance(LATE + 5_000)
    ((who, late_at),) = told(hub, "daemon.late")
    assert (who, late_at - heard_at in (LATE, LATE + 1)) == ("old", True)


@pytest.mark.parametrize("times", [0.5, 1, 3])
def test_a_hub_that_was_away_makes_no_false_alarm_and_finds_who_died(be_away: Any, times: float) -> None:
    hub, away = be_away
    live(hub, MINUTE, *LIVE, "dead", every=30_000)
    hub = away(round(times * DOWN))
    resumed_at = hub.now
    live(hub, LATE + 30_000, *LIVE, every=30_000)
    assert told(hub, "daemon.late") == [("dead", resumed_at + LATE)]
    live(hub, DOWN - LATE, *LIVE, every=30_000)
    assert told(hub, "daemon.down") == [("dead", resumed_at + DOWN)]
    assert len(hub.events("hub.gap")) == 1


@pytest.mark.sqlite
@pytest.mark.parametrize(
    ("interval", "silent_before", "late_after_resume"),
    [
        (10, 100_000, 80_000),  # what remained
        (10, 170_000, 30_000),  # 30 s
        (60, 170_000, 120_000),  # twice its interval
        (None, 170_000, 300_000),  # it announced none: counts as 150 s
        (None, 0, 300_000),
    ],
)
def test_after_a_gap_a_deadline_is_what_remained_but_never_less_than_two_beats_or_thirty_seconds(
    hub: Hub, interval: int | None, silent_before: int, late_after_resume: int
) -> None:
    hub.beat(**({} if interval is None else {"intervalSec": interval})).of(200)
    hub.advance(silent_before)
    hub.freeze(20 * MINUTE)
    resumed_at = hub.now
    hub.advance(late_after_resume - 1)
    assert told(hub, "daemon.late") == []
    hub.advance(1)
    assert told(hub, "daemon.late") == [("mini", resumed_at + late_after_resume)]


def test_a_configured_limit_below_thirty_seconds_is_the_grace_then(hub: Hub) -> None:
    hub.beat(intervalSec=5).of(200)
    hub.put("/api/daemons/mini/settings", {"lateAfterSec": 15, "downAfterSec": 40}, key=ADMIN).of(200)
    hub.advance(14_000)
    hub.freeze(MINUTE)
    resumed_at = hub.now
    hub.advance(MINUTE)
    assert told(hub, "daemon.late") == [("mini", resumed_at + 15_000)]


@pytest.mark.sqlite
def test_a_late_daemon_is_not_down_because_of_a_gap(hub: Hub) -> None:
    hub.beat(intervalSec=10).of(200)
    hub.advance(DOWN - 10_000)
    assert len(told(hub, "daemon.late")) == 1
    hub.freeze(HOUR)
    resumed_at = hub.now
    hub.advance(29_999)
    assert told(hub, "daemon.down") == []
    hub.advance(1)
    assert told(hub, "daemon.down") == [("mini", resumed_at + 30_000)]


def test_two_seconds_are_no_gap_and_more_is_one(hub: Hub) -> None:
    hub.beat().of(200)
    hub.advance(10_000)
    hub.freeze(2_000)
    assert hub.events("hub.gap") == []
    hub.freeze(2_001)
    (gap,) = hub.events("hub.gap")
    assert at(gap["fields"]["toAt"]) - at(gap["fields"]["fromAt"]) == 2_001


@pytest.mark.sqlite
def test_a_hub_that_watches_nothing_has_no_gaps(hub: Hub) -> None:
    hub.enqueue()
    hub.advance(10_000)
    hub.freeze(HOUR)
    hub.advance(10_000)
    assert hub.events("hub.gap") == []


@pytest.mark.sqlite
def test_a_lease_keeps_what_remained_of_it_through_a_gap(be_away: Any) -> None:
    hub, away = be_away
    task_id = hub.enqueue()
    hub.lease()
    hub.advance(12_000)
    hub = away(10 * MINUTE)
    resumed_at = hub.now
    assert at(hub.task(task_id)["lease"]["expiresAt"]) == resumed_at + 18_000
    hub.advance(17_999)
    assert hub.pending() == []
    hub.advance(1)
    assert hub.pending() == [task_id]


@pytest.mark.sqlite
def test_a_wait_run_outlives_ten_minutes_without_a_hub(be_away: Any) -> None:
    hub, away = be_away
    hub.beat().of(200)
    task_id = hub.enqueue()
    lease = hub.daemon_lease(onLoss="wait")
    running = [{"taskId": task_id, "token": lease["token"]}]
    hub.beat(running=running).of(200)
    hub = away(10 * MINUTE)
    assert hub.beat(running=running).of(200)["lost"] == []
    hub.advance(5_000)
    for _ in range(2):
        hub.result(task_id, token=lease["token"], success=True, output="once").of(200)
    task = hub.task(task_id)
    assert (task["status"], task["losses"], len(task["attempts"])) == ("done", 0, 1)
    assert told(hub, "daemon.late") == []


# ---- a wall clock that jumps


@pytest.mark.parametrize("jump", [HOUR, -HOUR, DAY, -DAY, 5_000, -5_000])
def test_a_jump_of_the_wall_clock_makes_no_alarm_and_loses_no_deadline(hub: Hub, jump: int) -> None:
    for name in ("living", "dead"):
        hub.beat(name, intervalSec=10).of(200)
    task_id = hub.enqueue()
    hub.lease()
    hub.advance(10_000)
    hub.jump(jump)
    resumed_at = hub.now
    assert hub.pending() == []
    live(hub, 19_000, "living", every=5_000)
    assert hub.pending() == []
    hub.advance(1_000)
    assert hub.pending() == [task_id], "its lease has ended when it should"
    live(hub, LATE, "living")
    assert told(hub, "daemon.late") == [("dead", resumed_at + LATE - 10_000)]


@pytest.mark.parametrize("jump", [-HOUR, HOUR])
def test_tokens_and_order_survive_a_jump(hub: Hub, jump: int) -> None:
    first = hub.enqueue()
    token = hub.lease()["token"]
    hub.jump(jump)
    hub.post(f"/api/queue/{first}/release", {"token": token}).of(200)
    lease = hub.lease()
    assert lease["token"] > token
    hub.result(first, token=lease["token"], success=True).of(200)
    assert hub.task(first)["status"] == "done"
