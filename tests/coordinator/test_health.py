"""Rules of health on values: deadlines, gaps, incidents, sleep."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from understudy.clock import iso
from understudy.coordinator import daemons, daily_windows, health
from understudy.coordinator.changes import Change
from understudy.coordinator.hearing import at_wall, awake, hear
from understudy.coordinator.identity import arrive, watch_name
from understudy.coordinator.nouns import Daemon, Hearing, Incident, Now, Policy

POLICY = Policy()
T0 = 1_770_000_000_000
START = Now(T0, T0)


def later(ms: int, start: Now = START) -> Now:
    return Now(start.wall + ms, start.h + ms, start.resumed_h)


def beating(interval_ms: int = 10_000, **fields: object) -> Daemon:
    daemon = Daemon("d1", interval_ms=interval_ms, first_seen_at=T0, since_at=T0, **fields)  # type: ignore[arg-type]
    return health.seen(daemon, START, POLICY).noun


def rung(daemon: Daemon, now: Now, incident: Incident | None = None) -> Change[Daemon]:
    return health.rung(daemon, incident, now, POLICY, "incident-1")


def test_late_and_down_come_at_their_deadline_and_not_a_millisecond_before() -> None:
    daemon = beating()
    assert daemon.deadline_h == START.h + 180_000
    assert rung(daemon, later(179_999)).noun.state == "healthy"
    late = rung(daemon, later(180_000))
    assert late.noun.state == "late"
    (incident,) = (row for row in late.save if isinstance(row, Incident))
    assert rung(late.noun, later(299_999), incident).noun.state == "late"
    down = rung(late.noun, later(300_000), incident)
    assert down.noun.state == "down"
    assert [e.message for e in (*late.events, *down.events)] == [
        "Warning: Daemon heartbeat delayed",
        "CRITICAL: daemon d1 unresponsive",
    ]
    assert late.events[0].fields["elapsedSec"] == 180


def test_a_deadline_is_rearmed_when_it_rings_not_with_each_beat() -> None:
    daemon = beating()
    again = health.seen(daemon, later(100_000), POLICY).noun
    assert again.deadline_h == daemon.deadline_h
    looked = rung(again, later(180_000))
    assert (looked.noun.state, looked.noun.deadline_h) == ("healthy", START.h + 280_000)
    assert not looked.events


@pytest.mark.parametrize("is_hubs", [False, True])
def test_shorter_limits_bring_the_alarm_forward_with_the_next_beat(is_hubs: bool) -> None:
    long = Policy(late_after_ms=7_200_000) if is_hubs else POLICY
    daemon = Daemon("d1", interval_ms=10_000 if is_hubs else 3_600_000, since_at=T0)
    armed = health.seen(daemon, START, long).noun
    assert armed.deadline_h == START.h + 7_200_000
    sooner = health.seen(replace(armed, interval_ms=10_000), later(60_000), POLICY).noun
    assert sooner.deadline_h == START.h + 240_000
    assert health.seen(sooner, later(70_000), POLICY).noun.deadline_h == sooner.deadline_h


def test_the_stop_that_follows_a_planned_one_is_judged() -> None:
    planned = health.stopped_as_planned(beating(), START, POLICY, 7_200_000).noun
    assert health.seen(planned, later(10_000), POLICY, "stopped").noun.deadline_h == START.h + 190_000


def test_recovery_is_told_once_with_its_length() -> None:
    late = rung(beating(), later(180_000)).noun
    back = health.seen(late, later(200_000), POLICY)
    assert [event.name for event in back.events] == ["daemon.recovered"]
    assert back.events[0].fields["lengthSec"] == 200
    assert not health.seen(back.noun, later(210_000), POLICY).events


def test_a_clock_that_is_set_back_during_an_incident_leaves_its_length() -> None:
    late = rung(beating(), later(180_000))
    (incident,) = (row for row in late.save if isinstance(row, Incident))
    now = Now(T0 - 86_400_000, START.h + 600_000)
    back = health.with_incident(health.seen(late.noun, now, POLICY), late.noun, incident, now)
    (over,) = (row for row in back.save if isinstance(row, Incident))
    assert (over.length_ms, over.missed_beats) == (600_000, 59)
    assert back.events[0].fields["lengthSec"] == 600


def test_a_longer_announced_interval_stretches_late_and_down_keeps_its_distance() -> None:
    limits = health.limits_of(Daemon("d1", interval_ms=300_000), POLICY)
    assert (limits.late_ms, limits.down_ms) == (600_000, 720_000)


@pytest.mark.parametrize(
    ("silent_before", "expected_after_resume"),
    [(0, 180_000), (100_000, 80_000), (170_000, 30_000), (179_999, 30_000)],
)
def test_after_a_gap_a_daemon_has_what_remains_but_at_least_the_grace(
    silent_before: int, expected_after_resume: int
) -> None:
    daemon = beating()
    resumed = START.h + silent_before + 1
    now = Now(T0 + 3_600_000, resumed, resumed)
    deadline = health.late_deadline(daemon, health.limits_of(daemon, POLICY), now)
    assert deadline - resumed in (expected_after_resume, expected_after_resume - 1)


def test_after_a_gap_an_old_client_has_two_of_its_renewals() -> None:
    daemon = beating(0)
    resumed = START.h + 170_000
    deadline = health.late_deadline(daemon, health.limits_of(daemon, POLICY), Now(T0, resumed, resumed))
    assert deadline == resumed + 300_000


@pytest.mark.parametrize("said", ["draining", "paused", "stopped"])
def test_what_a_daemon_says_of_itself_does_not_make_its_silence_quiet(said: str) -> None:
    left = health.seen(beating(), later(1), POLICY, said).noun
    assert not rung(left, later(180_000)).events
    late = rung(left, later(180_001))
    assert [e.name for e in late.events] == ["daemon.late"]
    assert [e.name for e in rung(late.noun, later(300_001)).events] == ["daemon.down"]


def test_a_daemon_whose_last_word_was_its_stop_is_told_as_such() -> None:
    left = health.seen(beating(), later(1_000), POLICY, "stopped").noun
    late = rung(left, later(181_000))
    down = rung(late.noun, later(301_000))
    told = [event.fields["stoppedAt"] for event in (*late.events, *down.events)]
    assert told == [iso(START.wall + 1_000)] * 2
    assert (late.noun.reason, down.noun.reason) == ("stopped", "stopped")
    back = health.seen(down.noun, later(400_000), POLICY)
    assert (back.noun.reason, [e.name for e in back.events]) == ("", ["daemon.recovered"])


def test_a_planned_stop_without_an_end_is_quiet_until_the_next_start() -> None:
    left = health.stopped_as_planned(beating(), later(1), POLICY, 0).noun
    assert (left.state, left.reason, left.deadline_h) == ("stopped", "planned", 0)
    again = health.stopped_as_planned(left, later(2), POLICY, 0).noun
    assert again.deadline_h == 0
    back = health.seen(again, later(9_000_000), POLICY)
    assert (back.noun.reason, bool(back.noun.deadline_h)) == ("", True)


def test_after_a_planned_stop_of_two_hours_silence_counts() -> None:
    left = health.stopped_as_planned(beating(), later(0), POLICY, 7_200_000).noun
    assert not rung(left, later(7_379_999)).events
    late = rung(left, later(7_380_000))
    assert [e.name for e in late.events] == ["daemon.late"]
    assert "stoppedAt" in late.events[0].fields
    assert not rung(late.noun, later(7_499_999)).events
    assert [e.name for e in rung(late.noun, later(7_500_000)).events] == ["daemon.down"]


def test_a_planned_stop_that_ended_while_the_hub_was_away_has_the_grace_of_a_gap() -> None:
    left = health.stopped_as_planned(beating(), later(0), POLICY, 60_000).noun
    ended = rung(left, later(60_000)).noun
    resumed = ended.deadline_h - 1
    assert not rung(ended, Now(T0, ended.deadline_h, resumed)).events
    assert rung(ended, Now(T0, resumed + 30_000, resumed)).events


@pytest.mark.parametrize(("late_ms", "then_ms"), [(0, 3_600_000), (3_600_000, 60_000)])
def test_a_planned_stop_ends_when_it_was_to_end_whatever_the_limits_are_by_then(late_ms: int, then_ms: int) -> None:
    left = health.stopped_as_planned(replace(beating(), late_after_ms=late_ms), START, POLICY, 7_200_000).noun
    set_anew = daemons.configure(left, then_ms, 2 * then_ms, "[]", later(1_000)).noun
    assert set_anew.deadline_h == START.h + 7_200_000
    ended = rung(set_anew, later(7_200_000)).noun
    assert (ended.reason, ended.deadline_h) == ("", START.h + 7_200_000 + then_ms)
    assert [e.name for e in rung(ended, later(7_200_000 + then_ms)).events] == ["daemon.late"]


def test_a_pause_keeps_the_end_of_a_planned_stop_whatever_the_limits_are_by_then() -> None:
    left = health.stopped_as_planned(beating(), START, POLICY, 7_200_000).noun
    set_anew = daemons.configure(left, 3_600_000, 7_200_000, "[]", later(1_000)).noun
    paused = daemons.pause(set_anew, None, later(2_000), POLICY, 600_000)
    assert paused is not None
    assert rung(paused.noun, later(602_000)).noun.deadline_h == START.h + 7_200_000


def test_a_pause_for_a_time_ends_by_itself_and_silence_counts_from_there() -> None:
    paused = health.set_state(replace(beating(), paused=1), "paused", later(0), POLICY, 3_600_000).noun
    assert paused.deadline_h == START.h + 3_600_000
    assert health.seen(paused, later(10_000), POLICY).noun.deadline_h == paused.deadline_h
    over = rung(paused, later(3_600_000)).noun
    assert (over.paused, over.state) == (0, "healthy")
    assert [e.name for e in rung(over, later(3_780_000)).events] == ["daemon.late"]


def test_a_paused_daemon_makes_no_alarm() -> None:
    paused = health.set_state(replace(beating(), paused=1), "paused", later(1), POLICY).noun
    assert paused.deadline_h == 0
    assert health.seen(paused, later(2), POLICY, "stopped").noun.deadline_h == 0


def test_a_never_seen_daemon_makes_no_alarm() -> None:
    assert not rung(Daemon("d1", deadline_h=1), later(9_000_000)).events


def test_expected_sleep_is_asleep_and_not_late() -> None:
    sleep = '[{"from":"00:00","to":"23:59","tz":"UTC"}]'
    looked = rung(replace(beating(), expected_sleep=sleep), later(180_000))
    assert (looked.noun.state, [e.name for e in looked.events]) == ("asleep", ["daemon.asleep"])


def test_a_sleep_window_over_midnight_is_half_open_in_its_zone() -> None:
    night = '[{"from":"23:00","to":"07:00","tz":"Asia/Tokyo"}]'
    midnight_utc = 1_770_000_000_000 - 1_770_000_000_000 % 86_400_000
    at = lambda hours, minutes=0: midnight_utc + (hours * 60 + minutes) * 60_000  # noqa: E731 - UTC instants
    assert daily_windows.left_ms(night, at(14)) == 8 * 3_600_000  # 23:00 in Tokyo
    assert daily_windows.left_ms(night, at(21, 59)) == 60_000
    assert daily_windows.left_ms(night, at(21, 59) + 59_999) == 1
    assert not daily_windows.left_ms(night, at(22))  # 07:00
    assert not daily_windows.left_ms(night, at(13, 59))


def looks_until_late(daemon: Daemon) -> list[int]:
    """The hearing instants at which it is looked at, each right after a stall of the hub, until it is late."""
    looks: list[int] = []
    while daemon.state != "late" and len(looks) < 20:
        now = Now(daemon.deadline_h, daemon.deadline_h, daemon.deadline_h - 1)
        daemon = rung(daemon, now).noun
        looks.append(now.h)
    return looks


def test_one_that_overslept_is_reported_although_the_hub_stalls_again_and_again() -> None:
    asleep = replace(beating(), state="asleep", reason="expected", deadline_h=START.h + 600_000)
    assert looks_until_late(asleep)[-1] <= START.h + 600_000 + 180_000 + 30_000


def test_one_that_is_not_back_is_reported_although_the_hub_stalls_again_and_again() -> None:
    left = health.stopped_as_planned(beating(), START, POLICY, 60_000).noun
    assert looks_until_late(left)[-1] <= START.h + 60_000 + 180_000 + 30_000


NIGHT = '[{"from":"22:00","to":"06:00","tz":"UTC"}]'
EVENING = Now(1_770_069_600_000, 1_770_069_600_000)  # 22:00 UTC
EIGHT_H = 8 * 3_600_000


def sleeper() -> Daemon:
    daemon = Daemon("d1", interval_ms=10_000, first_seen_at=T0, since_at=T0, expected_sleep=NIGHT)
    asleep = rung(health.seen(daemon, EVENING, POLICY).noun, later(180_000, EVENING)).noun
    assert asleep.state == "asleep"
    return asleep


def morning(daemon: Daemon) -> Daemon:
    """The daemon at 06:00, after each of its looks until then."""
    while daemon.deadline_h < EVENING.h + EIGHT_H:
        daemon = rung(daemon, later(daemon.deadline_h - EVENING.h, EVENING)).noun
    return rung(daemon, later(EIGHT_H, EVENING)).noun


def test_new_settings_after_a_window_leave_a_sleeper_its_limit() -> None:
    now = later(EIGHT_H + 10_000, EVENING)
    set_anew = daemons.configure(morning(sleeper()), 180_000, 300_000, NIGHT, now).noun
    looked = rung(set_anew, now)
    assert (looked.events, looked.noun.deadline_h) == ((), EVENING.h + EIGHT_H + 180_000)


def test_a_sleeper_that_is_late_is_down_after_the_limit_that_it_has_by_then() -> None:
    late = rung(morning(sleeper()), later(EIGHT_H + 180_000, EVENING)).noun
    assert late.state == "late"
    now = later(EIGHT_H + 200_000, EVENING)
    looked = rung(daemons.configure(late, 180_000, 600_000, NIGHT, now).noun, now)
    assert (looked.events, looked.noun.deadline_h) == ((), EVENING.h + EIGHT_H + 600_000)


def test_a_window_that_ends_while_the_hub_is_away_ends_soon_after() -> None:
    asleep, away_ms = sleeper(), EIGHT_H
    resumed = Now(EVENING.wall + 180_000 + away_ms, EVENING.h + 180_000, EVENING.h + 180_000)
    now = later(asleep.deadline_h - resumed.h, resumed)
    asleep = rung(asleep, now).noun
    assert now.h - resumed.h <= 180_000
    assert rung(asleep, later(180_000, now)).noun.state == "late"


def test_silence_within_a_window_does_not_count_for_one_that_was_awake_for_a_moment() -> None:
    woken = health.seen(sleeper(), later(EIGHT_H - 120_000, EVENING), POLICY, "healthy").noun
    looked = rung(woken, later(EIGHT_H + 60_000, EVENING))
    assert (looked.events, looked.noun.deadline_h) == ((), EVENING.h + EIGHT_H + 180_000)
    assert rung(looked.noun, later(EIGHT_H + 180_000, EVENING)).noun.state == "late"


def test_a_planned_stop_that_ends_at_night_makes_no_alarm() -> None:
    daemon = health.seen(Daemon("d1", interval_ms=10_000, expected_sleep=NIGHT), START, POLICY).noun
    left = health.stopped_as_planned(daemon, later(0, EVENING), POLICY, 3_600_000).noun
    ended = rung(left, later(left.deadline_h - EVENING.h, EVENING)).noun
    assert rung(ended, later(ended.deadline_h - EVENING.h, EVENING)).noun.state == "asleep"


def late_before_the_night(**limits: int) -> tuple[Daemon, Incident]:
    """A daemon that was seen last at 21:56, and is late at 21:59."""
    daemon = Daemon("d1", interval_ms=10_000, first_seen_at=T0, since_at=T0, expected_sleep=NIGHT, **limits)
    late = rung(health.seen(daemon, later(-240_000, EVENING), POLICY).noun, later(-60_000, EVENING))
    (incident,) = (row for row in late.save if isinstance(row, Incident))
    return late.noun, incident


def test_one_that_is_late_when_its_window_opens_is_down_only_once_it_oversleeps() -> None:
    late, incident = late_before_the_night()
    slept = rung(late, later(60_000, EVENING), incident)
    assert (slept.noun.state, slept.noun.incident_id) == ("asleep", incident.id)
    assert ([e.name for e in slept.events], [r for r in slept.save if isinstance(r, Incident)]) == (
        ["daemon.asleep"],
        [],
    )
    woken = morning(slept.noun)
    assert not rung(woken, later(EIGHT_H + 299_999, EVENING), incident).events
    down = rung(woken, later(EIGHT_H + 300_000, EVENING), incident)
    assert [e.name for e in down.events] == ["daemon.down"]
    assert [(r.id, r.state) for r in down.save if isinstance(r, Incident)] == [(incident.id, "down")]


def test_one_that_was_late_before_its_window_and_comes_back_within_it_ends_its_incident() -> None:
    late, incident = late_before_the_night()
    asleep = rung(late, later(60_000, EVENING), incident).noun
    assert asleep.state == "asleep"
    now = later(3_600_000, EVENING)
    back = health.with_incident(health.seen(asleep, now, POLICY), asleep, incident, now)
    assert [(e.name, e.fields["incidentId"]) for e in back.events] == [("daemon.recovered", incident.id)]
    assert [(r.id, r.state) for r in back.save if isinstance(r, Incident)] == [(incident.id, "recovered")]
    assert back.noun.incident_id == ""


def test_a_window_between_late_and_down_counts_for_neither() -> None:
    late, incident = late_before_the_night(down_after_ms=10 * 3_600_000)
    looked = rung(late, later(late.deadline_h - EVENING.h, EVENING), incident)
    assert (looked.events, looked.noun.deadline_h) == ((), EVENING.h + EIGHT_H + 10 * 3_600_000)


@pytest.mark.parametrize("for_ms", [0, 7_200_000])
def test_a_planned_stop_goes_on_after_a_pause(for_ms: int) -> None:
    paused = daemons.pause(beating(), None, START, POLICY, 600_000)
    assert paused is not None
    stopped = health.stopped_as_planned(paused.noun, later(1_000), POLICY, for_ms).noun
    over = rung(stopped, later(600_000)).noun
    assert (over.state, over.reason, over.paused) == ("stopped", "planned", 0)
    assert over.deadline_h == (START.h + 1_000 + for_ms if for_ms else 0)


@pytest.mark.parametrize("for_ms", [0, 7_200_000])
def test_a_pause_does_not_end_the_planned_stop_that_it_comes_after(for_ms: int) -> None:
    stopped = health.stopped_as_planned(beating(), START, POLICY, for_ms).noun
    paused = daemons.pause(stopped, None, later(1_000), POLICY, 600_000)
    assert paused is not None
    over = rung(paused.noun, later(601_000)).noun
    assert (over.state, over.reason) == ("stopped", "planned")
    assert over.deadline_h == (START.h + for_ms if for_ms else 0)


@pytest.mark.parametrize("for_ms", [0, 7_200_000])
def test_resume_ends_a_pause_and_the_planned_stop_within_it(for_ms: int) -> None:
    paused = daemons.pause(beating(), None, START, POLICY, 0)
    assert paused is not None
    stopped = health.stopped_as_planned(paused.noun, later(1_000), POLICY, for_ms).noun
    back = daemons.resume(stopped, None, later(2_000), POLICY)
    assert back is not None
    assert (back.noun.state, back.noun.reason, back.noun.deadline_h) == ("healthy", "", START.h + 2_000 + 180_000)


def test_the_ring_of_beats_keeps_the_last_120() -> None:
    daemon = beating()
    for n in range(1, 200):
        daemon = health.seen(daemon, later(10_000 * n), POLICY).noun
    assert len(daemon.beats) == 240
    assert daemon.beats[-2:] == (100).to_bytes(2, "big")


# ---- hearing time


def test_a_short_silence_of_the_hub_is_no_gap_and_a_longer_one_is() -> None:
    hearing = awake(Hearing(), START)
    for ms in (0, 999, 2_000):
        _, now, gap = hear(hearing, T0 + ms)
        assert (now.h, gap) == (START.h + ms, None)
    after, now, gap = hear(hearing, T0 + 2_001)
    assert (now.h, after.gaps_ms, now.resumed_h) == (START.h, 2_001, START.h)
    assert gap is not None


@pytest.mark.parametrize("jump", [3_600_000, -3_600_000])
def test_a_jump_of_the_wall_clock_moves_no_deadline(jump: int) -> None:
    after, now, gap = hear(awake(Hearing(), START), T0 + jump)
    assert (now.wall, now.h) == (T0 + jump, START.h)
    assert gap is not None
    _, then, _ = hear(after, T0 + jump + 500)
    assert then.h == START.h + 500


def test_a_small_step_back_is_corrected_without_a_word() -> None:
    after, now, gap = hear(awake(Hearing(), START), T0 - 300)
    assert (now.h, gap, now.resumed_h) == (START.h, None, 0)
    assert after.gaps_ms == -300


def test_while_nothing_is_watched_time_passes_without_gaps() -> None:
    _, now, gap = hear(Hearing(idle=1, heard_at=T0), T0 + 9_000_000)
    assert (now.h, gap) == (T0 + 9_000_000, None)


def test_instants_on_the_wire_are_now_plus_what_remains() -> None:
    assert at_wall(Now(T0 + 500, 1_000), 1_700) == T0 + 1_200


# ---- identity


@pytest.mark.parametrize(
    ("worker", "name"),
    [
        ("daemon_mini_1738591000123", "daemon_mini"),
        ("daemon_mini", "daemon_mini"),
        ("daemon_mini_173859100012", "daemon_mini_173859100012"),
        ("worker_1738591000123", ""),
        ("worker_mine_1738591000123", "worker_mine"),
    ],
)
def test_old_workers_are_watched_by_the_name_without_their_start_time(worker: str, name: str) -> None:
    assert watch_name(worker) == name


def test_another_machine_gets_the_id_only_of_one_that_is_down_or_stopped() -> None:
    bound = replace(beating(), machine_id="m1", boot_id="b1")
    assert arrive(bound, "m2", "b9", frozenset(), START).refused == "id_taken"
    moved = arrive(replace(bound, state="down"), "m2", "b9", frozenset(), START)
    assert (moved.refused, [e.name for e in moved.change.events]) == ("", ["daemon.moved"])
    assert [boot.boot_id for boot in moved.change.save] == ["b1"]


def test_a_superseded_boot_never_becomes_current_again() -> None:
    bound = replace(beating(), machine_id="m1", boot_id="b2")
    assert arrive(bound, "m1", "b1", frozenset({"b1"}), START).refused == "superseded"
    assert arrive(bound, "m1", "b3", frozenset({"b1"}), START).is_new_boot


def test_a_beat_without_its_machine_is_no_sign_of_life_of_a_bound_daemon() -> None:
    assert not arrive(replace(beating(), machine_id="m1"), "", "", frozenset(), START).is_sign_of_life
