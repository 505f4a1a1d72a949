"""Delivery: at least once, the same key each time, no channel waiting for another, dead letters kept."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
from msgspec.structs import replace

from tests.hub.desk import DOWN_MS, LATE_MS, Desk, Said, beat, bench_with, live, rows
from understudy.coordinator import outbox
from understudy.coordinator.nouns import Notice, Now
from understudy.coordinator.outbox import GIVE_UP_AFTER_MS, RETRY_AFTER_MAX_MS, RETRY_MAX_MS, TAKEN_MS, retry_ms
from understudy.errors import ConflictError, NotFoundError, StoreDownError
from understudy.hub.delivery import SETTLE_TRIES_MS
from understudy.hub.enqueue import EnqueueTasks
from understudy.hub.operation import Operation
from understudy.hub.outbox import Outgoing, ReclaimNotices, ResendNotice, SendTestNotice, SettleNotice, TakeNotice
from understudy.hub.steps import Performance
from understudy.hub.task_commands import CommandTask
from understudy.hub.working_set import OUTBOX_DUE_MAX
from understudy.notify.base import Later, Refused, Sent
from understudy.wire.tasks import EnqueueBody


def tested(*desks: Desk) -> None:
    """A notice for each channel that counts for no storm."""
    for desk in desks:
        desk.bench.ask(SendTestNotice(desk.delivery.settings.name))


def late(count: int = 1, **more):
    """A hub of which so many daemons have just fallen silent, each told by a row of its own."""
    bench = bench_with(**more)
    for n in range(count):
        beat(bench, f"mini-{n}")
    bench.pass_time(LATE_MS)
    return bench, Desk(bench)


def test_a_receiver_that_is_down_for_eight_seconds_gets_every_notice():
    bench, desk = late(2)
    desk.always = Later("unavailable")
    live(bench, 8_000, desk)
    assert desk.got == []
    desk.always = None
    live(bench, 30_000, desk)
    assert sorted(desk.titles) == ["mini-0 is down", "mini-0 is late", "mini-1 is down", "mini-1 is late"]
    assert {row.state for row in rows(bench)} == {"sent"}
    keys = [said.message.key for said in desk.tried]
    assert len(set(keys)) == 4 < len(keys)  # each try of one notice has the same key


def test_what_a_receiver_repeats_is_cleaned_before_it_is_kept():
    bench = bench_with()
    desk = Desk(bench)
    desk.delivery._clean = lambda text: text.replace("usl_abc", "[REDACTED]")
    for outcome in (Refused("no usl_abc here"), Later("no usl_abc now"), Sent(remark="not to usl_abc")):
        desk.says.append(outcome)
        tested(desk)
        desk.run()
    assert [row.last_error for row in rows(bench)] == ["no [REDACTED] here", "no [REDACTED] now", "not to [REDACTED]"]
    assert "usl_abc" not in str(bench.events("notice.dead"))


def without_settling(desk: Desk, times: int) -> None:
    """So many times the store cannot take what became of a message."""
    ask, left = desk.bench.ask, [StoreDownError("away")] * times

    def asked(*operations: Operation) -> list[Any]:
        return [left.pop()] if left and isinstance(operations[0], SettleNotice) else ask(*operations)

    desk.bench.ask = asked  # type: ignore[method-assign]


def test_what_was_sent_while_the_store_was_away_is_not_sent_again():
    bench, desk = late()
    desk.parts = 2
    without_settling(desk, 20)
    live(bench, 3 * TAKEN_MS, desk, daemons=("mini-0",))
    tried = [(said.message.key, said.part) for said in desk.tried]
    assert tried[0][1] == 0
    assert len(tried) == len(set(tried)) >= 2
    assert {row.state for row in rows(bench)} == {"sent"}


def test_a_store_that_stays_away_costs_a_second_message_with_the_same_key():
    bench, desk = late()
    without_settling(desk, TAKEN_MS // SETTLE_TRIES_MS + 2)
    with pytest.raises(StoreDownError):
        desk.run()
    live(bench, 3 * TAKEN_MS, desk, daemons=("mini-0",))
    tried = [said.message.key for said in desk.tried if said.message.title == "mini-0 is late"]
    assert (len(tried), len(set(tried))) == (2, 1)


def test_an_alarm_that_not_everybody_got_is_sent_and_a_test_of_it_has_failed():
    bench, desk = late()
    desk.always = Sent(remark="550 no such person")
    tested(desk)
    live(bench, 1_000, desk)
    assert [(row.state, row.last_error) for row in rows(bench, kind="notice")] == [("sent", "550 no such person")]
    assert [(row.state, row.last_error) for row in rows(bench, kind="test")] == [("dead", "550 no such person")]


def test_tries_are_further_and_further_apart_and_none_is_forgotten():
    pauses = [retry_ms("notice-1", n) for n in range(1, 30)]
    assert 800 <= pauses[0] <= 1200
    assert all(later >= 1.3 * sooner for sooner, later in pairwise(pauses[:8]))
    assert max(pauses) <= 1.2 * RETRY_MAX_MS
    assert {retry_ms(f"notice-{n}", 1) for n in range(20)} != {1000}  # not all at the same moment


def test_a_notice_is_tried_for_a_day_and_a_half_then_it_is_dead():
    bench, desk = late()
    desk.always = Later("unavailable")
    bench.clock.advance(1)
    started = bench.clock.now_ms()
    while rows(bench, state="waiting"):
        bench.clock.advance(max(desk.run(), 1))
    age = bench.clock.now_ms() - started
    assert GIVE_UP_AFTER_MS - 2 * RETRY_MAX_MS < age <= GIVE_UP_AFTER_MS
    assert len(desk.tried) < 700
    (dead,) = rows(bench, state="dead")
    assert dead.last_error == "unavailable"


def test_what_some_of_several_receivers_may_have_got_is_tried_less_often():
    """Each of them gets each try: with a pause of five minutes at most it would be 430."""
    bench = bench_with()
    beat(bench)
    desk = Desk(bench)
    bench.pass_time(LATE_MS)
    desk.always = Later("one of them failed", is_partial=True)
    started = bench.clock.now_ms()
    while rows(bench, state="waiting", cause="daemon.late"):
        bench.clock.advance(max(desk.run(), 1))
    (dead,) = rows(bench, cause="daemon.late")
    assert bench.clock.now_ms() - started > GIVE_UP_AFTER_MS - 2 * RETRY_AFTER_MAX_MS
    assert 20 < dead.attempts < 60


def test_a_service_that_asks_for_a_pause_gets_it_for_the_whole_channel():
    bench, desk = late(2)
    desk.says.append(Later("slow down", after_ms=30_000))
    desk.run()
    live(bench, 29_000, desk)
    assert len(desk.tried) == 1
    live(bench, 3_000, desk)
    assert len(desk.got) >= 2


def test_a_refused_notice_is_dead_at_once_visible_and_can_be_sent_again():
    bench, desk = late()
    desk.says.append(Refused("channel_not_found"))
    desk.run()
    (dead,) = rows(bench)
    assert (dead.state, dead.attempts, dead.last_error) == ("dead", 1, "channel_not_found")
    (backlog,) = bench.store.read(lambda reader: reader.backlogs(bench.clock.now_ms()))
    assert (backlog.channel, backlog.dead, backlog.last_error) == ("ops", 1, "channel_not_found")
    bench.ask(ResendNotice(dead.id, "me"))
    desk.run()
    assert [message.key for message in desk.got] == [dead.id]
    (refused,) = bench.ask(ResendNotice(dead.id, "me"))
    assert isinstance(refused, ConflictError)
    assert isinstance(bench.ask(ResendNotice("notice-none", "me"))[0], NotFoundError)


def test_one_channel_never_waits_for_another():
    bench = bench_with(channels=("slow", "quick"))
    slow, quick = Desk(bench, "slow"), Desk(bench, "quick")
    slow.always = Later("too slow")
    beat(bench)
    live(bench, LATE_MS, slow, quick)
    assert (len(slow.got), quick.titles) == (0, ["mini is late"])


def test_what_one_hub_is_sending_no_other_sends():
    bench, desk = late()
    (outgoing,) = bench.ask(TakeNotice("ops"))
    assert isinstance(outgoing, Outgoing)
    assert bench.ask(TakeNotice("ops")) == [None]
    desk.run()
    assert desk.tried == []
    bench.clock.advance(TAKEN_MS)
    desk.run()
    assert [message.key for message in desk.got] == [outgoing.notice.id]


def test_a_hub_that_died_while_sending_sends_again_with_the_same_key():
    bench, _ = late(4)
    (outgoing,) = bench.ask(TakeNotice("ops"))  # and now it is killed, perhaps after the receiver has taken it
    again = bench_with(store=bench.store)
    again.clock.advance(bench.clock.now_ms() - again.clock.now_ms())
    desk = Desk(again)
    again.finish(ReclaimNotices)
    live(again, 1_000, desk)
    assert any(message.key == outgoing.notice.id for message in desk.got)
    assert {row.state for row in rows(again, cause="daemon.late")} == {"sent"}


def test_a_word_that_comes_too_late_changes_nothing_unless_it_says_that_it_arrived():
    bench, desk = late()
    (outgoing,) = bench.ask(TakeNotice("ops"))
    bench.clock.advance(TAKEN_MS)
    (second,) = bench.ask(TakeNotice("ops"))
    bench.ask(SettleNotice(outgoing.notice, Refused("old news")))
    assert rows(bench)[0].state == "waiting"
    bench.ask(SettleNotice(outgoing.notice, Sent("ref")))
    assert rows(bench)[0].state == "sent"
    bench.ask(SettleNotice(second.notice, Refused("no")))
    assert rows(bench)[0].state == "sent"
    assert desk.run() > 0


def test_a_message_of_several_parts_goes_on_where_it_stopped():
    bench, desk = late()
    desk.parts = 3
    desk.says.extend((Sent("first"), Later("busy")))
    desk.run()
    live(bench, 3_000, desk)
    assert [said.part for said in desk.tried] == [0, 1, 1, 2]
    (row,) = rows(bench)
    assert (row.state, row.ref) == ("sent", "first")


def test_a_part_that_is_settled_twice_counts_once():
    """A COMMIT of unknown outcome is tried again: the next part must not be left out."""
    bench, _ = late()
    (outgoing,) = bench.ask(TakeNotice("ops"))
    first = SettleNotice(outgoing.notice, Sent("ref"), parts=3)
    (after,) = bench.ask(first)
    assert bench.ask(first) == [after]
    assert (after.state, after.part) == ("waiting", 1)
    (after,) = bench.ask(SettleNotice(after, Sent(), parts=3))
    assert (after.state, after.part) == ("waiting", 2)
    (after,) = bench.ask(SettleNotice(after, Sent(), parts=3))
    assert (after.state, after.ref) == ("sent", "ref")


def test_formatting_that_is_refused_is_sent_as_plain_text_once():
    bench, desk = late()
    desk.says.append(Refused("can't parse entities", as_plain=True))
    desk.run()
    assert [said.is_plain for said in desk.tried] == [False, True]
    assert rows(bench)[0].state == "sent"
    desk.says.extend([Refused("can't parse entities", as_plain=True)] * 5)
    live(bench, LATE_MS, desk)
    assert [row.state for row in rows(bench)] == ["sent", "dead"]
    assert len(desk.tried) == 4


class SplitDesk(Desk):
    """A service whose plain text takes more parts than its formatted one."""

    def requests_for(self, _, message, *, is_plain=False):
        return tuple(Said(message, part, is_plain) for part in range(4 if is_plain else 2))


def test_what_was_refused_in_one_part_is_plain_in_all_that_follow_however_often_they_are_tried():
    bench, _ = late()
    desk = SplitDesk(bench, parts=4)
    desk.says.extend((Refused("can't parse entities", as_plain=True), Sent("ref"), Later("busy")))
    live(bench, 3_000, desk)
    assert [(said.is_plain, said.part) for said in desk.tried] == [
        (False, 0),
        *((True, part) for part in (0, 1, 1, 2, 3)),
    ]
    assert len(desk.got) == 1


def test_what_lay_in_the_outbox_of_a_hub_that_was_off_for_days_is_tried_more_than_once():
    bench, desk = late()
    bench.clock.advance(2 * GIVE_UP_AFTER_MS)
    desk.says.append(Later("unavailable"))
    live(bench, 3_000, desk)
    assert "mini-0 is late" in desk.titles


def test_a_clock_that_is_set_back_and_a_service_that_asks_for_a_day_silence_no_channel_for_longer_than_an_hour():
    bench, desk = late()
    desk.says.append(Later("slow down", after_ms=86_400_000))
    desk.run()
    bench.clock.jump(-7_200_000)
    tested(desk)
    bench.clock.advance(RETRY_AFTER_MAX_MS)
    desk.step()
    assert [message.kind for message in desk.got] == ["notice"]


@pytest.mark.parametrize("is_known_as_gone", [True, False])
def test_a_recovery_whose_message_is_gone_is_sent_as_a_new_one(is_known_as_gone: bool):
    """It may be in a place that the channel has left, of which services say many things."""
    bench, desk = late()
    live(bench, LATE_MS, desk)
    beat(bench, "mini-0")
    desk.says.extend(Refused(why, without_edit=is_known_as_gone) for why in ("message_not_found", "is_archived"))
    desk.run()
    edits = [(said.message.edits, said.message.thread) for said in desk.tried[2:]]
    assert edits == [("ref-2", "ref-2"), ("", "ref-2"), ("", "")]
    assert desk.titles[-1] == "mini-0 is back"


def test_an_answer_leaves_its_thread_only_if_that_is_gone():
    bench = bench_with()
    desk = Desk(bench)
    answer = Notice("a", "ops", "answer", "task.cancelled", task_id="t", thread="C9/1.2", next_at=1, due_at=1)
    bench.store.transaction(lambda tx: tx.save_many([answer]))
    desk.says.append(Refused("is_archived"))
    desk.run()
    assert [said.message.thread for said in desk.tried] == ["C9/1.2"]
    assert [row.state for row in rows(bench)] == ["dead"]


def test_nobody_hears_that_it_is_over_before_that_it_began():
    bench, desk = late()
    desk.always = Later("unavailable")
    live(bench, 5_000, desk)
    beat(bench, "mini-0")
    live(bench, 3_000, desk, daemons=("mini-0",))
    desk.always = None
    live(bench, 30_000, desk, daemons=("mini-0",))
    assert desk.titles == ["mini-0 is late", "mini-0 is back"]


def test_a_message_whose_best_form_cannot_be_written_is_sent_in_a_plainer_one(monkeypatch):
    bench, desk = late(2)
    whole, broken = desk.requests_for, [True]

    def requests_for(channel, message, *, is_plain=False):
        if broken and broken.pop():
            raise ZeroDivisionError
        return whole(channel, message, is_plain=is_plain)

    monkeypatch.setattr(desk, "requests_for", requests_for)
    desk.run()
    assert [row.state for row in rows(bench)] == ["sent", "sent"]
    assert [said.is_plain for said in desk.tried] == [True, False]


def test_what_goes_to_a_channel_that_is_no_more_is_dead_and_comes_back_with_it():
    bench, _ = late()
    other = bench_with(channels=("new",), store=bench.store)
    other.finish(ReclaimNotices)
    (dead,) = rows(other)
    assert (dead.state, dead.last_error) == ("dead", "there is no channel ops")
    assert isinstance(other.ask(ResendNotice(dead.id, "me"))[0], ConflictError)
    assert bench.ask(ResendNotice(dead.id, "me"))[0]["success"]


def test_a_channel_that_fails_is_left_alone_for_a_while():
    bench = bench_with()
    desk = Desk(bench)
    for _ in range(40):
        tested(desk)
    desk.always = Later("unavailable")
    desk.run()
    assert len(desk.tried) == 3
    live(bench, 60_000, desk)
    assert len(desk.tried) < 12
    desk.always = None
    live(bench, 61_000, desk)
    assert len(desk.got) > 20


def test_a_test_is_tried_once():
    bench = bench_with()
    desk = Desk(bench)
    tested(desk)
    desk.says.append(Later("connection refused"))
    desk.run()
    assert [(row.kind, row.state, row.last_error) for row in rows(bench)] == [("test", "dead", "connection refused")]


def test_a_recovery_waits_for_a_warning_that_is_on_its_way():
    bench, desk = late()
    (outgoing,) = bench.ask(TakeNotice("ops"))
    beat(bench, "mini-0")
    desk.run()
    assert desk.tried == []
    bench.ask(SettleNotice(outgoing.notice, Later("busy", after_ms=20_000)))
    live(bench, 10_000, desk, daemons=("mini-0",))
    assert desk.tried == []
    live(bench, 60_000, desk, daemons=("mini-0",))
    assert desk.titles == ["mini-0 is late", "mini-0 is back"]


def test_notices_go_before_answers_of_the_same_channel():
    bench = bench_with()
    desk = Desk(bench)
    beat(bench)
    desk.always = Later("busy")
    live(bench, LATE_MS - 1_000, desk)
    bodies = [EnqueueBody("?", reply_to="ops") for _ in range(20)]
    bench.ask(EnqueueTasks(bodies, [f"t{n}" for n in range(20)], "key"))
    for n in range(20):
        bench.ask(CommandTask("cancel", f"t{n}", "me"))
    live(bench, 1_000)
    desk.always = None
    desk.step()
    assert [message.kind for message in desk.got] == ["notice"]


def test_a_critical_notice_is_sent_before_any_number_of_answers():
    bench = bench_with()
    wall = bench.clock.now_ms()
    answer = Notice("", "ops", "answer", "task.done", next_at=wall - 2, due_at=wall - 2, created_at=wall - 2)
    waiting = [replace(answer, id=f"a{n}", task_id=f"t{n}") for n in range(OUTBOX_DUE_MAX + 1)]
    alarm = Notice("down", "ops", "notice", "daemon.down", "critical", next_at=wall, due_at=wall, created_at=wall)
    tested = replace(alarm, id="test", kind="test", cause="test", level="info")
    bench.store.transaction(lambda tx: tx.save_many([*waiting, tested, alarm]))
    assert [bench.ask(TakeNotice("ops"))[0].notice.id for _ in range(2)] == ["down", "test"]
    assert bench.ask(TakeNotice("ops"))[0].notice.kind == "answer"


class Siblings(list[Notice]):
    """Counts how often somebody looks through all of them."""

    looks = 0

    def __iter__(self) -> Iterator[Notice]:
        self.looks += 1
        return super().__iter__()


def test_nobody_looks_through_all_that_is_due_for_each_row_that_is():
    answers = [Notice(f"a{n}", "ops", "answer", "task.done", task_id=f"t{n}", next_at=1) for n in range(100)]
    siblings = Siblings(answers)
    chosen = outbox.choose(answers, outbox.OutboxFacts(siblings, {}, []), Now(2, 2))
    assert chosen.notice is not None
    assert siblings.looks == 1


def test_a_channel_with_capitals_is_tested_told_and_answered() -> None:
    bench = bench_with(channels=("Ops-Team",))
    desk = Desk(bench, "Ops-Team")
    (asked,) = bench.ask(SendTestNotice("Ops-Team"))
    assert not isinstance(asked, BaseException)
    desk.run()
    beat(bench)
    live(bench, DOWN_MS, desk)
    assert len(desk.got) == 3


@pytest.mark.parametrize("parts", [0, 1])
def test_what_a_hub_that_ends_has_taken_and_not_sent_is_free_for_the_next_at_once(parts: int) -> None:
    """Of several hubs another one sends it; an alarm would wait for a minute there. `parts` were sent before."""
    bench, desk = late()
    desk.parts = 2
    performance = Performance(desk.delivery.step(), lambda: len(desk.tried) == parts and bool(taken()))

    def taken() -> list[Notice]:
        return [row for row in rows(bench, state="waiting") if row.taken_until]

    while (effect := performance.next()) is not None:
        with performance:
            performance.answer = desk._perform(effect)
    assert len(desk.tried) == parts
    assert taken() == []
    (row,) = rows(bench, state="waiting")
    assert (row.part, row.attempts) == (parts, 0)
    other = Desk(bench, parts=2)
    other.run()
    assert [said.part for said in other.tried] == [0, 1][parts:]
