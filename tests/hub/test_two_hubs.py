"""Two hubs on one store: what only one of them may do, and what neither may take for its own."""

from __future__ import annotations

from typing import Any

import pytest

from tests.hub.conftest import Bench
from tests.hub.desk import DOWN_MS, LATE_MS, beat, bench_with, rows
from tests.hub.standing_in import StandIn
from tests.hub.test_batch import claim
from understudy.coordinator.calls import LEASE_MARGIN_MS
from understudy.coordinator.jumps import SURE_AFTER_MS, Clocks, booked, jump_ms
from understudy.coordinator.nouns import Hearing, Task
from understudy.coordinator.outbox import GIVE_UP_AFTER_MS, TAKEN_MS
from understudy.coordinator.routes import Route
from understudy.coordinator.samples import Sample
from understudy.coordinator.takeover_nouns import TakeoverPolicy
from understudy.hub.alarm import GoIdle
from understudy.hub.alarm_loop import LISTEN_EVERY_MS, Alarm
from understudy.hub.calls import CutCalls, ReserveCall
from understudy.hub.enqueue import EnqueueTasks
from understudy.hub.operation import Operation
from understudy.hub.outbox import ReclaimNotices, SendTestNotice, TakeNotice
from understudy.hub.results import ReportResult
from understudy.hub.starts import LogMinute, RecordHearing
from understudy.hub.steps import Read
from understudy.simulation.shared_store import SharedStore
from understudy.wire.tasks import EnqueueBody, ResultBody

HOUR = 3_600_000
PURGES_MAX = 100  # steps in which an alarm removes what is too old, at the start
CALL_MS = TakeoverPolicy().timeout_ms


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
        assert hub.engine.unsure_until_mono == one.clock.mono_ms() + SURE_AFTER_MS


def test_a_hub_that_starts_while_another_doubts_the_time_doubts_it_too() -> None:
    one, other = pair()
    one.ask(RecordHearing())
    one.clock.jump(2 * HOUR)
    one.ask(RecordHearing())
    one.clock.advance(1_000)
    one.ask(RecordHearing())
    other.ask(RecordHearing())
    assert other.engine.unsure_until_mono == one.engine.unsure_until_mono


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


# ---- what the start of one hub leaves to the others


def test_a_hub_that_starts_frees_no_notice_that_another_one_is_sending() -> None:
    one, other = pair()
    one.ask(SendTestNotice("ops"))
    assert one.ask(TakeNotice("ops"))[0] is not None
    assert other.ask(ReclaimNotices(is_shared=True)) == [False]
    assert other.ask(TakeNotice("ops")) == [None]
    one.clock.advance(TAKEN_MS)
    assert other.ask(TakeNotice("ops"))[0] is not None


def test_a_channel_that_only_the_other_hub_knows_is_left_to_it_until_its_notices_are_given_up() -> None:
    one, _ = pair()
    other = bench_with(Route(("new",)), channels=("new",), store=one.store, clock=one.clock)
    one.ask(SendTestNotice("ops"))
    assert other.ask(ReclaimNotices(is_shared=True)) == [False]
    assert [row.state for row in rows(one)] == ["waiting"]
    one.clock.advance(GIVE_UP_AFTER_MS + 1)
    other.ask(ReclaimNotices(is_shared=True))
    assert [row.last_error for row in rows(one, state="dead")] == ["there is no channel ops"]


def test_a_hub_that_starts_cuts_its_own_calls_and_leaves_those_of_another_hub() -> None:
    hub = StandIn(calls_at_once=4)
    hub.lose_daemon()
    for task_id in ("a", "b"):
        hub.enqueue(task_id)
    hub.look()
    mine, theirs = hub.ask(ReserveCall("hub/one"), ReserveCall("hub/two"))
    hub.ask(CutCalls("hub/one"))
    assert {call.worker_id: call.outcome for call in hub.calls()} == {"hub/one": "cut", "hub/two": ""}
    assert (hub.task(mine.task_id).status, hub.task(theirs.task_id).status) == ("queued", "leased")


def test_a_call_of_a_hub_that_never_comes_back_ends_with_its_time() -> None:
    hub = StandIn()
    hub.lose_daemon()
    hub.enqueue()
    hub.look()
    hub.ask(ReserveCall("hub/gone"))
    hub.pass_time(CALL_MS + LEASE_MARGIN_MS + 1_000)
    hub.look()
    assert [call.outcome for call in hub.calls()] == ["cut"]
    assert hub.task().status == "queued"


def test_the_rows_of_one_minute_of_two_hubs_are_one_row() -> None:
    one, other = pair()
    one.ask(LogMinute(1, Sample(0, waiting=3, beats=10, requests=5, commits=2, commit_ms=20, commit_max_ms=12)))
    other.ask(LogMinute(1, Sample(0, waiting=2, leased=1, beats=1, requests=1, commits=1, commit_ms=4)))
    (row,) = one.store.read(lambda reader: reader.load_all(Sample, 9))
    assert (row.waiting, row.leased, row.beats, row.requests) == (3, 1, 11, 6)
    assert (row.commits, row.commit_ms, row.commit_max_ms) == (3, 24, 12)


def test_nobody_goes_idle_while_the_other_hub_has_leased_something() -> None:
    one, other = pair()
    other.ask(EnqueueTasks([EnqueueBody("t", needs=[])], ["t"], "k"), claim())
    assert one.ask(GoIdle()) == [False]


def listening() -> tuple[Bench, Bench, Alarm]:
    """Two hubs on one store, and the alarm of the first, which has nothing to do but to listen."""
    store: Any = SharedStore()
    one = Bench(store=store)
    other = Bench(store=store, clock=one.clock)
    alarm = Alarm(one.engine, _raise)
    assert LISTEN_EVERY_MS in (driven(one, alarm) for _ in range(PURGES_MAX))
    return one, other, alarm


def test_the_alarm_of_a_shared_store_sees_a_deadline_that_another_hub_has_set_within_a_second() -> None:
    one, other, alarm = listening()
    other.ask(EnqueueTasks([EnqueueBody("t", delay_sec=1.4)], ["t"], "k"))  # and that hub is killed
    one.clock.advance(LISTEN_EVERY_MS)
    assert driven(one, alarm) == 400
    one.clock.advance(400)
    driven(one, alarm)
    assert one.store.read(lambda reader: reader.ready_ids(9)) == ["t"]


def test_a_hub_goes_on_listening_for_one_that_was_killed_after_its_last_lease() -> None:
    """The lease began and ended between two looks of the one that is left."""
    one, other, alarm = listening()
    _, got = other.ask(EnqueueTasks([EnqueueBody("t", needs=[])], ["t"], "k"), claim(on_loss="requeue"))
    other.ask(ReportResult("t", ResultBody(success=True, token=got["lease"]["token"])))  # and that hub is killed
    for _ in range(90):
        one.clock.advance(LISTEN_EVERY_MS)
        driven(one, alarm)
    one.ask(RecordHearing())
    assert one.events("hub.gap") == []
    (hearing,) = one.store.read(lambda reader: reader.load_many(Hearing, (1,)))
    assert hearing.idle, "nobody needs to be heard: in the end it says so"


def driven(bench: Bench, alarm: Alarm) -> int:
    """One step of an alarm: ms until the next."""
    steps, answer = alarm.step(), None
    while True:
        try:
            effect = steps.send(answer)
        except StopIteration as end:
            return int(end.value)
        if isinstance(effect, Read):
            answer = bench.store.read(effect.show)
        else:
            assert isinstance(effect, Operation)
            committed = bench.engine.run((effect,))
            alarm.look_at(committed)
            (answer,) = committed.answers


def _raise(trouble: Exception) -> None:
    raise trouble
