"""What old clients and owners say of daemons, on values."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from understudy.coordinator import daemons
from understudy.coordinator.daemons import Introduced, OldBeat
from understudy.coordinator.nouns import LEASED, QUEUED, Daemon, Directive, Incident, Now, Policy, Task

NOW = Now(1_770_000_000_000, 1_770_000_000_000)
POLICY = Policy()
MINI = Daemon("mini", "healthy", last_seen_at=NOW.wall - 9_000, last_seen_h=NOW.h - 9_000, since_at=1, version="1")
LATE = replace(MINI, state="late", incident_id="incident-1")
SAID = Introduced("2", "[]", 5_000, "2026-01-01T00:00:00Z")
INCIDENT = Incident("incident-1", "mini", "late", 1, 1, last_seen_at=NOW.wall - 9_000)


def test_a_registration_is_a_sign_of_life_that_ends_the_incident() -> None:
    change = daemons.register(LATE, SAID, INCIDENT, NOW, POLICY)
    assert [event.name for event in change.events] == ["daemon.registered", "daemon.recovered"]
    assert (change.noun.state, change.noun.registered_at) == ("healthy", NOW.wall)
    assert [row.state for row in change.save if isinstance(row, Incident)] == ["recovered"]


def test_what_does_not_name_the_machine_brings_no_bound_daemon_to_life() -> None:
    bound = replace(LATE, machine_id="m")
    assert daemons.register(bound, SAID, INCIDENT, NOW, POLICY).noun.state == "late"
    assert daemons.old_beat(bound, OldBeat("healthy"), INCIDENT, NOW, POLICY).noun.state == "late"


@pytest.mark.parametrize(
    ("said", "state", "reason"),
    [
        ("healthy", "healthy", ""),
        ("degraded", "healthy", "degraded"),
        ("unhealthy", "stuck", "the daemon says that it is unhealthy"),
    ],
)
def test_an_old_beat_says_how_its_daemon_is(said: str, state: str, reason: str) -> None:
    after = daemons.old_beat(MINI, OldBeat(said), None, NOW, POLICY).noun
    assert (after.state, after.reason) == (state, reason)


def test_a_pause_is_quiet_and_another_one_only_moves_its_end() -> None:
    change = daemons.pause(LATE, INCIDENT, NOW, POLICY, 60_000)
    assert change is not None
    assert (change.noun.state, change.noun.deadline_h, change.noun.incident_id) == ("paused", NOW.h + 60_000, "")
    assert [row.state for row in change.save if isinstance(row, Incident)] == ["recovered"]
    assert daemons.pause(change.noun, None, NOW, POLICY, 60_000) is None
    again = daemons.pause(change.noun, None, NOW, POLICY, 0)
    assert again is not None
    assert (again.noun.deadline_h, again.events) == (0, ())


def test_a_daemon_is_judged_from_the_moment_it_is_resumed() -> None:
    assert daemons.resume(MINI, None, NOW, POLICY) is None
    change = daemons.resume(replace(MINI, state="paused", paused=1), None, NOW, POLICY)
    assert change is not None
    assert (change.noun.state, change.noun.deadline_h) == ("healthy", NOW.h + POLICY.late_after_ms)
    planned = daemons.resume(replace(MINI, state="stopped", reason="planned"), None, NOW, POLICY)
    assert planned is not None
    assert (planned.noun.reason, planned.noun.deadline_h) == ("", NOW.h + POLICY.late_after_ms)


@pytest.mark.parametrize(("state", "is_due"), [("healthy", True), ("asleep", True), ("down", False)])
def test_new_settings_make_its_health_due(state: str, is_due: bool) -> None:
    after = daemons.configure(replace(MINI, state=state, deadline_h=7), 5_000, 0, "[]", NOW).noun
    assert (after.late_after_ms, after.deadline_h) == (5_000, NOW.h if is_due else 7)


def test_what_a_forgotten_daemon_held_or_kept_waits_for_nobody() -> None:
    held = Task("held", LEASED, ready=0, daemon_id="mini", boot_id="b", token=1, lease_flags=1, lease_on_loss="wait")
    kept = Task("kept", QUEUED, ready=0, waiting_for="mini")
    draft = daemons.forget(LATE, INCIDENT, (held, kept), (Directive("d1", "mini", "drain"),), NOW, POLICY)
    tasks = {row.id: row for row in draft.save if isinstance(row, Task)}
    assert {(task.status, task.ready, task.waiting_for) for task in tasks.values()} == {(QUEUED, 1, "")}
    assert draft.events[0].name == "daemon.forgotten"
    assert {row.state for row in draft.save if isinstance(row, Directive | Incident)} == {"expired", "recovered"}
