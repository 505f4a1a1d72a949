"""Two hubs on one store: what only one of them may do, and what neither may take for its own."""

from __future__ import annotations

import pytest

from tests.hub.conftest import Bench
from tests.hub.desk import DOWN_MS, LATE_MS, beat, bench_with, rows
from understudy.coordinator.jumps import Clocks, booked, jump_ms
from understudy.coordinator.nouns import Hearing, Task
from understudy.hub.enqueue import EnqueueTasks
from understudy.hub.outbox import SendTestNotice, TakeNotice
from understudy.hub.starts import RecordHearing
from understudy.wire.tasks import EnqueueBody

HOUR = 3_600_000


def pair() -> tuple[Bench, Bench]:
    """Two hubs on one store that has one clock, as a database has."""
    one = bench_with()
    return one, Bench(one.engine.policy, one.store, one.clock)


def delayed(bench: Bench) -> int:
    """For how long the task `t` still has to wait."""
    (task,) = bench.store.read(lambda reader: reader.load_many(Task, ("t",)))
    return task.available_at - bench.clock.now_ms()


@pytest.mark.parametrize("jump", [-HOUR, HOUR])
def test_a_jump_of_the_shared_clock_moves_the_pauses_once(jump: int) -> None:
    one, other = pair()
    one.ask(EnqueueTasks([EnqueueBody("t", delay_sec=600)], ["t"], "k"))
    other.ask(RecordHearing())
    one.clock.jump(jump)
    one.clock.advance(1_000)
    for hub in (one, other, one, other):
        hub.ask(RecordHearing())
        assert delayed(hub) == pytest.approx(599_000, abs=1_000)
    (hearing,) = one.store.read(lambda reader: reader.load_many(Hearing, (1,)))
    assert hearing.moved_ms == jump


def test_two_jumps_of_which_each_hub_sees_another_first_are_each_moved_once() -> None:
    one, other = pair()
    one.ask(EnqueueTasks([EnqueueBody("t", delay_sec=600)], ["t"], "k"))
    other.ask(RecordHearing())
    one.clock.jump(HOUR)
    one.ask(RecordHearing())
    one.clock.jump(-2 * HOUR)
    other.ask(RecordHearing())  # sees both at once, of which the first is booked
    one.ask(RecordHearing())
    assert delayed(one) == 600_000


def test_both_hubs_look_again_at_what_waits_and_doubt_the_time_after_a_jump_that_one_booked() -> None:
    one, other = pair()
    for hub in (one, other):
        hub.ask(RecordHearing())
    one.clock.jump(2 * HOUR)
    for hub in (one, other):
        assert hub.engine.run((RecordHearing(),)).due == ("ops",)
        assert hub.engine.moved_ahead_mono == one.clock.mono_ms()


def test_a_hub_whose_own_clock_stood_still_while_another_heard_takes_it_for_no_jump() -> None:
    before = Clocks(1_000_000, 5_000)
    assert jump_ms(before, Clocks(1_600_000, 6_000), Hearing(heard_at=1_599_500)) == 0
    assert jump_ms(before, Clocks(1_600_000, 6_000), Hearing(heard_at=1_000_000)) == 599_000


def test_a_jump_that_another_hub_has_booked_is_none_for_this_one() -> None:
    before, hearing = Clocks(1_000_000, 5_000), Hearing(heard_at=1_000_000)
    after = Clocks(1_001_000 - HOUR, 6_000)
    assert jump_ms(before, after, hearing) == -HOUR
    assert jump_ms(before, after, booked(hearing, -HOUR)) == 0
    assert jump_ms(before, after, booked(hearing, -HOUR + 2_001)) == -2_001
    assert booked(hearing, 0) is hearing


def test_a_notice_that_one_hub_is_sending_stays_taken_by_it_through_a_jump_that_both_see() -> None:
    one, other = pair()
    one.ask(SendTestNotice("ops"))
    other.ask(RecordHearing())
    assert one.ask(TakeNotice("ops"))[0] is not None
    one.clock.jump(HOUR)
    for hub in (other, one, other):
        assert hub.ask(TakeNotice("ops"))[0] is None


def test_silence_is_reported_once_whichever_hub_looks_first() -> None:
    one, other = pair()
    beat(one)
    for _ in range((LATE_MS + DOWN_MS) // 1_000):
        one.pass_time(1_000)
        other.pass_time(0)
    assert len(one.events("daemon.late")) == len(one.events("daemon.down")) == 1
    assert len(rows(one, cause="daemon.down")) == 1
