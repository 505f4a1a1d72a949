"""A whole heartbeat on values: what its rows and its answer are."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from understudy.coordinator import beats
from understudy.coordinator.beats import Facts, Heard, ReceivedBeat, judge
from understudy.coordinator.nouns import LEASED, Boot, Daemon, Directive, Incident, Now, Policy, Progress, Task
from understudy.coordinator.renewals import NamedRun

NOW = Now(1_770_000_000_000, 1_770_000_000_000)
POLICY = Policy()
MINI = Daemon("mini", "healthy", machine_id="m", boot_id="b1", seq=4, last_seen_at=NOW.wall - 10_000, since_at=1)
BEAT = ReceivedBeat("mini", "m", "b1", seq=5)


def heard(beat: ReceivedBeat, known: Daemon | None = MINI, **facts: Any) -> Heard:
    return judge(Facts(known, **facts), beat, NOW, POLICY)


def names(after: Heard) -> list[str]:
    return [event.name for event in after.draft.events if not event.live_only]


def daemon_of(after: Heard) -> Daemon:
    (daemon,) = (row for row in after.draft.save if isinstance(row, Daemon))
    return daemon


def test_an_unknown_daemon_is_registered_and_watched() -> None:
    after = heard(BEAT, None)
    daemon = daemon_of(after)
    assert names(after) == ["daemon.registered"]
    assert (daemon.state, daemon.machine_id, daemon.boot_id, daemon.seq) == ("healthy", "m", "b1", 5)
    assert daemon.deadline_h > NOW.h


def test_each_beat_is_recorded_twice_for_those_who_follow() -> None:
    assert [event.component for event in heard(BEAT).draft.events if event.live_only] == [
        "Queue API",
        "TaskCoordinator",
    ]


def test_a_refused_beat_saves_nothing() -> None:
    after = heard(replace(BEAT, machine_id="other"))
    assert (after.refused, after.draft.save, names(after)) == ("id_taken", [], ["daemon.cloned"])


def test_a_beat_that_does_not_name_its_machine_changes_nothing_and_is_told_what_is_lost() -> None:
    after = heard(ReceivedBeat("mini", runs=(NamedRun("t", 1, progress="1"),)))
    assert (after.draft.save, names(after), after.lost) == ([], [], ["t"])


def test_a_new_boot_takes_the_place_of_the_old_one_and_its_leases() -> None:
    task = Task("t", status=LEASED, daemon_id="mini", boot_id="b1", token=3, lease_flags=1, lease_on_loss="requeue")
    after = heard(replace(BEAT, boot_id="b2", seq=1, starts_last_hour=6), held=(task,))
    assert names(after) == ["daemon.started", "lease.lost", "daemon.restarting"]
    assert Boot("mini", "b1", NOW.wall) in after.draft.save
    assert (daemon_of(after).boot_id, daemon_of(after).seq) == ("b2", 1)


@pytest.mark.parametrize(
    ("starts", "since_ms", "is_told"), [(5, 0, False), (6, 0, True), (6, 3_599_999, False), (6, -1, True)]
)
def test_a_daemon_that_starts_again_and_again_is_an_event_once_an_hour(
    starts: int, since_ms: int, is_told: bool
) -> None:
    known = replace(MINI, restarting_at=NOW.wall - since_ms if since_ms else 0)
    after = heard(replace(BEAT, boot_id="b2", starts_last_hour=starts), known)
    assert ("daemon.restarting" in names(after)) == is_told


def test_what_it_says_of_itself_is_kept_and_the_rest_stays() -> None:
    known = replace(MINI, version="1", provides='["gpu"]')
    said = replace(
        BEAT, version="2", interval_ms=5_000, runs=(NamedRun("t", 1, "2026-01-01T00:00:00Z", 3, 9),), slept_ms=7
    )
    daemon = daemon_of(heard(said, known))
    assert (daemon.version, daemon.provides, daemon.interval_ms, daemon.slept_ms) == ("2", '["gpu"]', 5_000, 7)
    run = '{"taskId":"t","token":1,"progressAt":"2026-01-01T00:00:00Z","idleSec":3,"idleLimitSec":9}'
    assert daemon.running == f"[{run}]"


def test_a_beat_that_was_overtaken_turns_no_number_back() -> None:
    assert daemon_of(heard(replace(BEAT, seq=3))).seq == 4


def test_a_long_interval_is_an_event_once() -> None:
    first = heard(replace(BEAT, interval_ms=600_000))
    assert names(first) == ["daemon.stretched"]
    assert names(heard(replace(BEAT, seq=6, interval_ms=600_000), daemon_of(first))) == []


@pytest.mark.parametrize(
    ("beat", "state"),
    [
        (replace(BEAT, state="running"), "healthy"),
        (replace(BEAT, state="draining"), "draining"),
        (replace(BEAT, state="stopping"), "stopped"),
        (replace(BEAT, loops={"claim": {"agoSec": 9, "limitSec": 1}}), "stuck"),
        (replace(BEAT, state="draining", loops={"claim": {"agoSec": 9, "limitSec": 1}}), "draining"),
        (replace(BEAT, runs=(NamedRun("t", 1, idle_s=9, idle_limit_s=1),)), "stuck"),
        (replace(BEAT, auth={"codex": "logged_out"}), "stuck"),
    ],
)
def test_a_daemon_is_as_it_says_unless_its_parts_say_that_it_is_stuck(beat: ReceivedBeat, state: str) -> None:
    assert daemon_of(heard(beat)).state == state


def test_a_login_that_ended_is_an_event_of_its_own() -> None:
    first = heard(replace(BEAT, auth={"codex": "logged_out"}))
    assert names(first) == ["daemon.auth_failed", "daemon.stuck"]
    assert names(heard(replace(BEAT, seq=6, auth={"codex": "logged_out"}), daemon_of(first))) == []


@pytest.mark.parametrize("clock_ms", [0, 86_400_000])  # by which the clock was set back during it
def test_a_sign_of_life_ends_the_incident(clock_ms: int) -> None:
    known = replace(MINI, state="late", incident_id="incident-1", last_seen_h=NOW.h - 60_000)
    silent = Incident("incident-1", "mini", "late", 1, 1, last_seen_at=NOW.wall - 60_000 + clock_ms)
    after = heard(BEAT, known, incident=silent)
    (incident,) = (row for row in after.draft.save if isinstance(row, Incident))
    assert (incident.state, incident.length_ms, daemon_of(after).incident_id) == ("recovered", 60_000, "")


def test_a_directive_goes_out_with_the_answer_and_its_report_ends_it() -> None:
    asked = Directive("d1", "mini", "drain", state="asked", expires_h=NOW.h + 1_000)
    known = replace(MINI, open_directives=1)
    first = heard(BEAT, known, directives=(asked,))
    assert ([one.id for one in first.offered], daemon_of(first).open_directives) == (["d1"], 1)
    (delivered,) = first.offered
    second = heard(replace(BEAT, reports={"d1": ("done", "")}), known, directives=(delivered,))
    assert (second.offered, daemon_of(second).open_directives, names(second)) == ([], 0, ["directive.done"])


def test_a_stop_for_a_restart_is_no_stop() -> None:
    restart = Directive("d1", "mini", "restart", state="started", boot_id="b1", expires_h=NOW.h + 1_000)
    assert daemon_of(heard(replace(BEAT, state="stopping"), directives=(restart,))).state == "healthy"


def test_a_planned_stop_is_quiet_until_its_end() -> None:
    daemon = daemon_of(heard(replace(BEAT, state="stopping", planned_for_ms=60_000)))
    assert (daemon.state, daemon.reason, daemon.deadline_h) == ("stopped", "planned", NOW.h + 60_000)


@pytest.mark.parametrize(("interval_ms", "duration_ms", "next_ms"), [(10_000, 30_000, 10_000), (60_000, 12_000, 4_000)])
def test_the_next_beat_comes_before_the_shortest_lease_ends(interval_ms: int, duration_ms: int, next_ms: int) -> None:
    ends = {"expires_h": NOW.h + 1_000, "hard_end_h": NOW.h + 99_000_000}
    task = Task("t", status=LEASED, daemon_id="mini", boot_id="b1", token=3, duration_ms=duration_ms, **ends)
    said = replace(BEAT, interval_ms=interval_ms, runs=(NamedRun("t", 3, progress="1"),))
    after = heard(said, held=(task,), tasks={"t": task})
    assert after.next_ms == next_ms
    assert [row.progress for row in after.draft.save if isinstance(row, Progress)] == ["1"]


def test_a_beat_goes_through_each_module_of_rules_once() -> None:
    task = Task("t", status=LEASED, daemon_id="mini", boot_id="b1", token=3, hard_end_h=NOW.h + 99, lease_flags=1)
    said = replace(BEAT, runs=(NamedRun("t", 3),), auth={"codex": "logged_out"}, interval_ms=600_000)
    asked = Directive("d1", "mini", "drain", state="asked", expires_h=NOW.h + 1_000)
    stays: list[str] = []

    def follow(frame: Any, what: str, _: Any) -> None:
        caller = frame.f_back
        if what == "call" and caller is not None and caller.f_code is judge.__code__:
            stays.append(Path(frame.f_code.co_filename).stem)

    sys.setprofile(follow)
    try:
        heard(said, held=(task,), tasks={"t": task}, directives=(asked,))
    finally:
        sys.setprofile(None)
    rooms = [room for room in stays if room not in ("beats", "changes", "<string>")]
    visited = [room for nth, room in enumerate(rooms) if nth == 0 or rooms[nth - 1] != room]
    assert visited == ["identity", "renewals", "stuck", "directives", "health"]
    assert beats.__doc__ is not None
    assert all(name in beats.__doc__ for name in visited)
