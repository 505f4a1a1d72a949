"""What is done once: the same word a second time changes nothing."""

from __future__ import annotations

import pytest

from understudy.coordinator import incidents, keys, links, outbox, routes, sessions, starts, takeover
from understudy.coordinator.nouns import Deployment, Incident, Key, Notice, Now, Session
from understudy.coordinator.takeover_nouns import TakeoverState

NOW = Now(1_770_000_000_000, 1_770_000_000_000)
INCIDENT = Incident("incident-1", "mini", "late", 1, 1)


def test_the_first_one_who_has_seen_an_incident_counts() -> None:
    change = incidents.acknowledge(INCIDENT, "ada", NOW)
    assert change is not None
    assert (change.noun.acknowledged_by, change.events[0].fields["by"]) == ("ada", "ada")
    assert incidents.acknowledge(change.noun, "bob", NOW) is None


def test_the_last_word_of_a_snooze_counts_also_to_end_it() -> None:
    quiet = incidents.snooze(INCIDENT, 60_000, "ada", NOW).noun
    assert quiet.snoozed_until == NOW.wall + 60_000
    assert incidents.snooze(quiet, 0, "ada", NOW).noun.snoozed_until == NOW.wall


def test_a_successor_has_the_scopes_and_the_lineage_of_its_key_which_stays_valid() -> None:
    key = Key("key-1", "ada", "h1", "read submit", 1)
    change = keys.rotate(key, "key-2", "h2", "admin", NOW)
    assert change is not None
    assert (change.noun.scopes, change.noun.hash, change.noun.lineage) == ("read submit", "h2", "key-1")
    (old,) = change.save
    assert isinstance(old, Key)
    assert (old.rotated_to, old.revoked_at) == ("key-2", 0)
    third = keys.rotate(change.noun, "key-3", "h3", "admin", NOW)
    assert third is not None
    assert third.noun.lineage == "key-1"


def test_a_revoked_key_is_neither_revoked_again_nor_rotated() -> None:
    change = keys.revoke(Key("key-1", "ada", "h1", "read", 1), "admin", NOW)
    assert change is not None
    assert keys.revoke(change.noun, "admin", NOW) is None
    assert keys.rotate(change.noun, "key-2", "h2", "admin", NOW) is None


def test_a_pause_of_takeover_keeps_its_circuit_and_resuming_closes_it() -> None:
    before = TakeoverState(circuit="authentication")
    paused = takeover.switch(before, "pause", "ada", NOW)
    assert paused is not None
    assert (paused.noun.paused, paused.noun.circuit) == (1, "authentication")
    assert takeover.switch(paused.noun, "pause", "ada", NOW) is None
    resumed = takeover.switch(paused.noun, "resume", "ada", NOW)
    assert resumed is not None
    assert (resumed.noun.paused, resumed.noun.circuit) == (0, "")


def test_what_is_sent_to_no_channel_is_dead_and_what_was_taken_is_free() -> None:
    taken = Notice("n", "ops", "notice", "daemon.late", taken_until=NOW.wall + 1)
    assert outbox.reclaim(taken, ("ops",), NOW).noun.taken_until == 0
    dead = outbox.reclaim(taken, (), NOW)
    assert (dead.noun.state, [event.name for event in dead.events]) == ("dead", ["notice.dead"])


def test_what_is_being_sent_is_not_sent_twice_by_an_owners_word() -> None:
    taken = Notice("n", "ops", "notice", "daemon.late", taken_until=NOW.wall + 1, attempts=3)
    assert outbox.resend(taken, "ada", NOW).noun == taken
    assert outbox.resend(outbox.dead(taken, "why"), "ada", NOW).noun.state == "waiting"


def test_a_minute_without_beats_is_no_event() -> None:
    assert [event.fields for event in starts.minute(0, 2, NOW)] == [{"timesLastMinute": 2}]


@pytest.mark.parametrize(
    ("daemon_id", "pattern", "fits"),
    [
        ("mini", "mini", True),
        ("mini-2", "mini-*", True),
        ("Mini", "mini", False),
        ("mini[1]", "mini[1]", True),
        ("mini1", "mini[1]", False),
        ("mini?", "mini?", True),
        ("minix", "mini?", False),
        ("a[b]c", "*[b]*", True),
    ],
)
def test_in_the_name_of_a_daemon_only_the_star_stands_for_anything(daemon_id: str, pattern: str, fits: bool) -> None:
    assert routes.is_of(daemon_id, (pattern,)) is fits


@pytest.mark.parametrize(("seen_ms", "is_running"), [(0, True), (-19_999, True), (-20_000, False), (20_000, False)])
def test_a_hub_runs_if_it_was_seen_lately_by_the_clock_of_today(seen_ms: int, is_running: bool) -> None:
    assert starts.is_running(Deployment("v", 1, "1", "f", "h", seen_at=NOW.wall + seen_ms), NOW.wall) is is_running


@pytest.mark.parametrize(("seen_ms", "is_written"), [(0, False), (-59_999, False), (-60_000, True), (86_400_000, True)])
def test_that_a_session_is_used_is_written_once_a_minute_and_when_the_clock_was_set_back(
    seen_ms: int, is_written: bool
) -> None:
    held = Session("s", "h", "key", "", "", "read", "", 1, NOW.wall + seen_ms, NOW.wall + 86_400_000)
    seen = sessions.see(held, NOW)
    assert (seen is not None and seen.seen_at == NOW.wall) is is_written


@pytest.mark.parametrize(("ahead_ms", "is_good"), [(0, True), (86_400_000, True), (86_400_001, False)])
def test_a_session_that_began_while_the_clock_was_far_ahead_is_not_held(ahead_ms: int, is_good: bool) -> None:
    began = Now(NOW.wall + ahead_ms, NOW.h)
    held = sessions.start(Session("s", "h", "key", "", "", "read", "", 0, 0, 0), began).noun
    assert sessions.is_good(held, NOW) is is_good
    assert (sessions.see(held, NOW) is not None) is (is_good and ahead_ms > 0)


@pytest.mark.parametrize(("ahead_ms", "is_good"), [(0, True), (86_400_000, True), (86_400_001, False)])
def test_a_link_that_was_made_while_the_clock_was_far_ahead_is_not_followed(ahead_ms: int, is_good: bool) -> None:
    made = sessions.login_link("h", "read", "ada", "key", "m", Now(NOW.wall + ahead_ms, NOW.h)).noun
    assert links.is_good(made, NOW) is is_good
