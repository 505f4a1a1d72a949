"""A wall clock that somebody sets: pauses go on for what was left of them, whichever way it was moved."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from tests.hub.conftest import Bench
from tests.hub.desk import DOWN_MS, LATE_MS, Desk, be_late_once, beat, bench_with, live, rows
from tests.hub.test_batch import beat as beat_of
from tests.hub.test_batch import claim, enqueue
from understudy.coordinator.jumps import Clocks, jump_ms
from understudy.coordinator.notices import CALM_MS, FLAPS
from understudy.coordinator.nouns import Deployment, Hearing, Incident, Task
from understudy.coordinator.outbox import STORM_MESSAGES_MAX, STORM_WINDOW_MS
from understudy.coordinator.routes import Route
from understudy.errors import StoreError
from understudy.hub.alarm import RingAlarm
from understudy.hub.delivery import CIRCUIT_MAX_MS
from understudy.hub.incidents import SnoozeIncident
from understudy.hub.outbox import ReturnNotice, SendTestNotice, SettleNotice, TakeNotice
from understudy.hub.starts import RecordHearing
from understudy.hub.steps import Read
from understudy.notify.base import Later, Refused
from understudy.store.look import running_hubs

HOUR = 3_600_000
JUMPS = pytest.mark.parametrize("jump", [-HOUR, HOUR, -400 * 24 * HOUR, 48 * HOUR])


@JUMPS
def test_a_notice_that_is_tried_again_is_tried_when_it_would_have_been(jump: int) -> None:
    bench = bench_with()
    desk = Desk(bench)
    beat(bench)
    live(bench, DOWN_MS, desk)
    desk.got.clear()
    bench.ask(SendTestNotice("ops"))
    beat(bench)
    live(bench, LATE_MS - 1_000)
    desk.run()
    desk.always = Later("unavailable")
    live(bench, 4_000, desk)
    (waiting,) = rows(bench, state="waiting")
    left = waiting.next_at - bench.clock.now_ms()
    bench.clock.jump(jump)
    bench.ask(RecordHearing())
    (moved,) = rows(bench, state="waiting")
    assert moved.next_at - bench.clock.now_ms() == left
    desk.always = None
    desk.run()
    bench.clock.advance(max(left, 1_000) + 1_000)
    desk.run()
    assert "mini is late" in desk.titles
    assert rows(bench, state="dead") == []


def test_a_jump_is_not_forgotten_because_the_store_failed_just_then() -> None:
    """Else a notice waited, after a clock that was set back by an hour, until another batch moved it."""
    bench = bench_with()
    desk = Desk(bench)
    beat(bench)
    desk.always = Later("unavailable")
    live(bench, LATE_MS + 1_000, desk)
    bench.clock.advance(CIRCUIT_MAX_MS)
    bench.clock.jump(-HOUR)
    for _ in range(2):
        steps = desk.delivery.step()
        assert isinstance(effect := next(steps), Read)
        assert isinstance(steps.send(bench.store.read(effect.show)), RecordHearing)
        with pytest.raises(StoreError):
            steps.throw(StoreError("disk full"))


@JUMPS
def test_a_message_that_somebody_took_and_lost_is_free_after_its_minute(jump: int) -> None:
    bench = bench_with()
    beat(bench)
    bench.pass_time(LATE_MS)
    assert bench.ask(TakeNotice("ops"))[0] is not None
    bench.clock.jump(jump)
    desk = Desk(bench)
    desk.run()
    assert desk.got == []
    bench.clock.advance(61_000)
    desk.run()
    assert desk.titles == ["mini is late"]


@JUMPS
def test_a_channel_that_got_much_before_the_jump_gets_the_next_in_time(jump: int) -> None:
    bench = bench_with()
    desk = Desk(bench)
    for n in range(6):
        beat(bench, f"mini-{n}")
        live(bench, 1_000, desk)
    live(bench, LATE_MS - 2_000, desk)
    assert len(desk.got) >= STORM_MESSAGES_MAX
    for n in range(6):
        beat(bench, f"other-{n}")
    bench.clock.jump(jump)
    live(bench, 1_000, desk)
    ages = [bench.clock.now_ms() - row.sent_at for row in rows(bench, state="sent")]
    assert all(0 <= age <= LATE_MS for age in ages)  # they count for its pace as long as they would have
    live(bench, LATE_MS + STORM_WINDOW_MS, desk)
    assert rows(bench, state="waiting") == []


@JUMPS
def test_a_delay_lasts_as_long_as_it_was_asked_for(jump: int) -> None:
    bench = bench_with()
    bench.ask(enqueue("a", delay_sec=100))
    bench.pass_time(40_000)
    bench.clock.jump(jump)
    bench.pass_time(50_000)
    assert not bench.ask(claim("w", max=1))[0]["success"]
    bench.pass_time(12_000)
    assert bench.ask(claim("w", max=1))[0]["success"]


def test_an_instant_that_somebody_named_stays_that_instant() -> None:
    bench = bench_with()
    bench.ask(enqueue("a", available_at="2026-02-02T03:40:00Z"))
    (before,) = bench.store.read(lambda r: r.load_many(Task, ["a"]))
    bench.clock.jump(-HOUR)
    bench.ask(RingAlarm())
    (after,) = bench.store.read(lambda r: r.load_many(Task, ["a"]))
    assert after.available_at == before.available_at


@JUMPS
def test_a_snooze_lasts_as_long_as_it_was_asked_for(jump: int) -> None:
    bench = bench_with(Route(("ops",), remind_ms=60_000))
    desk = Desk(bench)
    beat(bench)
    live(bench, DOWN_MS, desk)
    (incident,) = {row.incident_id for row in rows(bench)}
    bench.ask(SnoozeIncident(incident, 200_000, "me"))
    bench.clock.jump(jump)
    count = len(desk.got)
    live(bench, 190_000, desk)
    assert len(desk.got) == count
    live(bench, 80_000, desk)
    assert set(desk.titles[count:]) == {"mini is still down"}
    (row,) = bench.store.read(lambda r: r.load_many(Incident, [incident]))
    assert row.snoozed_until < bench.clock.now_ms()


def test_a_hub_that_starts_with_a_clock_that_was_set_back_waits_no_longer_than_it_would_have() -> None:
    bench = bench_with()
    desk = Desk(bench)
    desk.always = Later("unavailable")
    beat(bench)
    live(bench, LATE_MS + 3_000, desk)
    again = bench_with(store=bench.store)
    again.clock.jump(bench.clock.now_ms() - again.clock.now_ms() - HOUR)
    again.ask(RingAlarm())
    fresh = Desk(again)
    live(again, 10_000, fresh)
    assert "mini is late" in fresh.titles


def test_an_incident_that_ends_after_the_clock_was_set_back_has_no_negative_length() -> None:
    bench = bench_with()
    beat(bench)
    bench.pass_time(DOWN_MS)
    bench.clock.jump(-HOUR)
    beat(bench)
    (told,) = bench.events("daemon.recovered")
    assert DOWN_MS / 1000 - 1 <= told["lengthSec"] <= DOWN_MS / 1000 + 2


def test_what_counts_as_a_jump() -> None:
    before = Clocks(1_000_000, 5_000)
    assert jump_ms(before, Clocks(1_060_000, 65_000), Hearing()) == 0  # it stood still for a minute
    assert jump_ms(before, Clocks(1_061_900, 65_000), Hearing()) == 0  # corrected a little
    assert jump_ms(before, Clocks(1_000_000 - HOUR, 5_000), Hearing()) == -HOUR
    assert jump_ms(None, Clocks(1_000_000, 0), Hearing(heard_at=1_000_000 + HOUR)) == -HOUR
    assert jump_ms(None, Clocks(1_000_000 + HOUR, 0), Hearing(heard_at=1_000_000)) == 0  # it may have been off


@JUMPS
def test_a_beat_right_after_the_jump_knows_the_leases_that_it_does_not_name(jump: int, hub: Bench) -> None:
    """They are loaded with the daemon, not by their ids: found in a simulated world."""
    hub.ask(beat_of(1), enqueue("a"))
    (got,) = hub.ask(claim("d1", daemon_id="d1", boot_id="b1", max=1))
    assert got["taskId"] == "a"
    hub.clock.jump(jump)
    (answer,) = hub.ask(beat_of(2, {"another": 5}))
    assert answer["lost"] == ["another"]


@pytest.mark.parametrize(("seen_ms", "running"), [(0, ["gone"]), (HOUR, [])])
def test_a_hub_that_was_seen_by_a_clock_that_was_ahead_is_not_taken_for_one_that_runs(
    seen_ms: int, running: list[str]
) -> None:
    bench = bench_with()
    now = bench.clock.now_ms()
    start = Deployment("v", now, "1", "f", "h", name="gone", seen_at=now + seen_ms)
    bench.store.transaction(lambda tx: tx.save_many([start]))
    assert bench.store.read(lambda reader: running_hubs(reader, bench.clock)) == running


@JUMPS
def test_what_becomes_of_a_message_that_is_being_sent_counts(jump: int) -> None:
    bench = bench_with()
    for name in ("mini", "other", "third"):
        beat(bench, name)
    bench.pass_time(LATE_MS)
    refused, later, unsent = (bench.ask(TakeNotice("ops"))[0].notice for _ in range(3))
    bench.clock.jump(jump)
    bench.ask(RecordHearing())
    bench.ask(SettleNotice(refused, Refused("no")), SettleNotice(later, Later("busy")), ReturnNotice(unsent))
    found = {row.id: row for row in rows(bench)}
    assert found[refused.id].state == "dead"
    assert (found[later.id].attempts, found[later.id].taken_until) == (1, 0)
    assert (found[unsent.id].attempts, found[unsent.id].taken_until) == (0, 0)


def test_a_notice_that_was_tried_before_quiet_hours_does_not_wait_beyond_them() -> None:
    bench = bench_with()
    beat(bench)
    bench.pass_time(LATE_MS)
    (row,) = rows(bench)
    held = replace(row, attempts=1, next_at=bench.clock.now_ms() + 9 * HOUR)
    bench.store.transaction(lambda tx: tx.save_many([held]))
    bench.clock.jump(8 * HOUR)
    bench.ask(RecordHearing())
    (moved,) = rows(bench)
    assert moved.next_at - bench.clock.now_ms() == HOUR


@pytest.mark.parametrize("jump", [-HOUR, HOUR])
def test_quiet_hours_end_when_their_owner_said(jump: int) -> None:
    # the clock of these tests begins at 02:40 UTC
    bench = bench_with(Route(("ops",), quiet='[{"from":"00:00","to":"04:00","tz":"UTC"}]'))
    desk = Desk(bench)
    beat(bench, auth={"claude_code": "expiring:2026-03-01"})
    desk.run()
    (held,) = rows(bench)
    bench.clock.jump(jump)
    desk.run()
    (after,) = rows(bench)
    assert (after.state, after.next_at, after.due_at) == ("waiting", held.next_at, held.due_at)
    bench.clock.advance(held.next_at - bench.clock.now_ms() - 1)
    desk.run()
    assert desk.got == []
    bench.clock.advance(1)
    desk.run()
    assert len(desk.got) == 1


@pytest.mark.parametrize("jump", [-600_000, HOUR])
def test_a_digest_that_quiet_hours_hold_is_sent_when_they_end(jump: int) -> None:
    # the fourth silence is at 02:45 UTC, and what follows is calm half an hour later
    bench = bench_with(Route(("ops",), quiet='[{"from":"03:00","to":"06:00","tz":"UTC"}]'))
    desk = Desk(bench)
    for _ in range(FLAPS):
        be_late_once(bench, desk)
    live(bench, CALM_MS, daemons=("mini",))
    desk.run()
    (held,) = rows(bench, cause="digest")
    assert held.next_at == held.due_at > bench.clock.now_ms() + HOUR
    count = len(desk.got)
    bench.clock.jump(jump)
    desk.run()
    (after,) = rows(bench, cause="digest")
    assert (after.state, after.next_at, after.due_at) == ("waiting", held.next_at, held.due_at)
    bench.clock.advance(held.next_at - bench.clock.now_ms())
    beat(bench)
    desk.run()
    assert desk.titles[count:] == ["mini is calm again"]


@JUMPS
def test_a_digest_comes_after_what_was_left_of_the_calm(jump: int) -> None:
    bench = bench_with()
    desk = Desk(bench)
    for _ in range(FLAPS):
        be_late_once(bench, desk)
    count = len(desk.got)
    bench.clock.jump(jump)
    live(bench, CALM_MS - 90_000, desk, daemons=("mini",))
    assert desk.titles[count:] == []
    live(bench, 60_000, desk, daemons=("mini",))
    assert desk.titles[count:] == ["mini is calm again"]


def test_a_clock_that_is_set_beyond_quiet_hours_ends_them() -> None:
    bench = bench_with(Route(("ops",), quiet='[{"from":"00:00","to":"04:00","tz":"UTC"}]'))
    desk = Desk(bench)
    beat(bench, auth={"claude_code": "expiring:2026-03-01"})
    desk.run()
    bench.clock.jump(2 * HOUR)
    desk.run()
    assert len(desk.got) == 1


@JUMPS
def test_the_delay_of_a_route_lasts_as_long_as_it_was_asked_for(jump: int) -> None:
    bench = bench_with(Route(("ops",), delay_ms=100_000))
    desk = Desk(bench)
    beat(bench, auth={"claude_code": "expiring:2026-03-01"})
    live(bench, 40_000, desk, daemons=("mini",))
    bench.clock.jump(jump)
    live(bench, 58_000, desk)
    assert desk.got == []
    live(bench, 4_000, desk)
    assert len(desk.got) == 1


@JUMPS
def test_a_reminder_comes_after_what_was_left_of_its_pause(jump: int) -> None:
    bench = bench_with(Route(("ops",), remind_ms=100_000))
    desk = Desk(bench)
    beat(bench)
    live(bench, DOWN_MS + 40_000, desk)
    bench.clock.jump(jump)
    live(bench, 56_000, desk)
    assert desk.titles == ["mini is late", "mini is down"]
    live(bench, 8_000, desk)
    assert desk.titles[2:] == ["mini is still down"]
