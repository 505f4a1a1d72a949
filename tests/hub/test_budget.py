"""What takeover spends is reserved before and settled after each call: never over, and what is left is exact."""

from __future__ import annotations

import contextlib
import random

import pytest
from msgspec.structs import replace

from tests.hub.standing_in import StandIn
from understudy.coordinator.calls import NoCall
from understudy.coordinator.nouns import Task
from understudy.coordinator.prices import Price, Tokens
from understudy.coordinator.takeover import CallOutcome
from understudy.coordinator.takeover_nouns import Budget, TakeoverState, TaskTakeover
from understudy.hub.alarm import RingAlarm
from understudy.hub.calls import CutCalls, ReserveCall, TakeoverCall
from understudy.hub.memory import SaveMemory
from understudy.hub.takeover import SwitchTakeover
from understudy.store.queries import Query
from understudy.store.sqlite import SqliteStore
from understudy.wire.memory import MemorySaveBody

CUT = CallOutcome("again", "no_answer", billed="unknown")
WORST = 6_000  # about what one call of these tests reserves


@pytest.fixture
def standing_in():
    with contextlib.ExitStack() as stack:

        def make(**decided):
            bench = StandIn(**decided)
            stack.callback(bench.store.close)
            return bench

        yield make


def reserved(hub):
    return [call.reserved_micro_usd for call in hub.calls() if not call.settled_at]


def test_a_call_reserves_its_worst_case_and_settles_what_it_cost(standing_in):
    hub = standing_in()
    hub.enqueue()
    hub.lose_daemon()
    job = hub.job()
    (worst,) = reserved(hub)
    sent = sum(len(m["content"][0]["text"]) for m in job.prompt.messages) + len(job.prompt.system)
    assert worst == sent + 16 + 64 + 1000 * 5  # a token a byte, and 1,000 of the answer at 5
    hub.settle(job)
    assert (reserved(hub), hub.spent("day"), hub.spent("month"), hub.done().spent_micro_usd) == ([], 150, 150, 150)


@pytest.mark.parametrize(("limit", "kind"), [("day_micro_usd", "day"), ("month_micro_usd", "month")])
def test_no_call_is_made_that_the_budget_could_not_bear(standing_in, limit, kind):
    hub = standing_in(**{limit: 2 * 7_000})
    for n in range(4):
        hub.enqueue(f"t{n}")
    hub.lose_daemon()
    first = hub.job()
    hub.settle(hub.job(), CUT)
    hub.pass_time(11_000)
    assert hub.reserve() == NoCall("busy")  # the first is still open: what it may cost counts
    assert hub.spent(kind) + sum(reserved(hub)) <= 14_000
    hub.settle(first, CUT)
    hub.pass_time(21_000)
    assert hub.reserve() == NoCall("budget")
    assert hub.spent(kind) + sum(reserved(hub)) <= 14_000
    (told,) = hub.events("budget.spent")
    assert (told["period"], told["limitUsd"]) == (kind, 0.014)
    assert {kept["reason"] for kept in hub.events("takeover.kept")} <= {"budget"}
    hub.look()
    assert "budget" in {kept["reason"] for kept in hub.events("takeover.kept")}


@pytest.mark.parametrize("limit", ["day_micro_usd", "month_micro_usd"])
def test_what_an_open_call_may_still_cost_is_not_reported_as_spent(standing_in, limit):
    """It was: with half of a budget reserved and nothing spent, its owner read that all of it was."""
    hub = standing_in(**{limit: 9_000})
    hub.enqueue("a")
    hub.enqueue("b")
    hub.lose_daemon()
    job = hub.job()
    assert hub.reserve() == NoCall("busy")
    assert [name for name in hub.names() if name.startswith("budget.")] == []
    hub.settle(job)
    assert hub.job().task_id == "b"
    assert hub.reserve().reason != "budget"


def test_a_question_that_the_rest_of_a_budget_cannot_bear_holds_up_no_cheaper_one(standing_in):
    """It stood in front for the rest of the day, and its owner read that all was spent."""
    hub = standing_in(day_micro_usd=20_000)
    hub.enqueue("first")
    hub.lose_daemon()
    hub.settle(hub.job(), CUT)
    hub.pass_time(11_000)
    hub.enqueue("a-dear", content="x" * 12_000)
    hub.enqueue("cheap")
    hub.settle(hub.job(), CallOutcome("answered", text="x", tokens=Tokens(10, 10), billed="tokens"))
    hub.settle(hub.job(), CallOutcome("answered", text="x", tokens=Tokens(10, 10), billed="tokens"))
    assert {hub.task(name).status for name in ("first", "cheap")} == {"done"}
    assert hub.events("budget.spent") == []
    assert hub.reserve() == NoCall("budget")
    assert [told["period"] for told in hub.events("budget.spent")] == ["day"]


def test_the_budget_of_one_task_is_its_own(standing_in):
    hub = standing_in(task_micro_usd=13_000)
    hub.enqueue("a")
    hub.lose_daemon()
    hub.settle(hub.job(), CUT)
    hub.pass_time(11_000)
    hub.settle(hub.job(), CUT)
    hub.pass_time(21_000)
    hub.enqueue("b")
    assert hub.job().task_id == "b"
    (refused,) = hub.events("takeover.refused")
    assert (refused["taskId"], refused["reason"]) == ("a", "too_dear")


def test_a_long_conversation_is_cut_to_what_the_task_may_cost_and_the_question_never(standing_in):
    hub = standing_in(task_micro_usd=10_000)
    for n in range(20):
        hub.ask(SaveMemory(MemorySaveBody(user_id="u", channel="c", role="user", content="x" * 3_000), f"m{n}"))
        hub.clock.advance(10)
    question = "y" * 2_000
    hub.enqueue(content=question, conversation={"channel": "c", "user_id": "u"})
    hub.lose_daemon()
    job = hub.job()
    texts = [block["text"] for message in job.prompt.messages for block in message["content"]]
    assert texts[-1] == question
    assert sum(reserved(hub)) <= 10_000


def test_half_most_and_all_are_told_once_a_period(standing_in):
    hub = standing_in(day_micro_usd=60_000, month_micro_usd=10_000_000)
    hub.lose_daemon()
    for n in range(70):
        hub.enqueue(f"t{n}")
        job = hub.reserve()
        if not isinstance(job, TakeoverCall):
            break
        hub.settle(job, CallOutcome("answered", text="x", tokens=Tokens(0, 200), billed="tokens"))
    told = [name for name in hub.names() if name.startswith("budget.")]
    assert told == ["budget.half", "budget.most", "budget.spent"]
    hub.pass_time(3_600_000)
    assert hub.reserve() == NoCall("budget")
    assert [name for name in hub.names() if name.startswith("budget.")] == told


def test_half_most_and_all_of_a_budget_that_was_raised_are_told_anew(standing_in):
    hub = standing_in(day_micro_usd=15_000, month_micro_usd=10_000_000)
    hub.lose_daemon()
    for n in range(10):
        hub.enqueue(f"t{n}")
    hub.settle(hub.job(), CUT)
    hub.pass_time(11_000)
    hub.settle(hub.job(), CUT)
    hub.pass_time(21_000)
    assert hub.reserve() == NoCall("budget")
    assert [told["limitUsd"] for told in hub.events("budget.spent")] == [0.015]
    hub.decide(day_micro_usd=30_000)
    for _ in range(10):
        hub.pass_time(60_000)
        job = hub.reserve()
        if isinstance(job, TakeoverCall):
            hub.settle(job, CUT)
    assert [told["limitUsd"] for told in hub.events("budget.spent")] == [0.015, 0.03]


def test_a_new_day_begins_with_nothing_spent(standing_in):
    hub = standing_in(day_micro_usd=7_000)
    hub.enqueue("a")
    hub.enqueue("b")
    hub.lose_daemon()
    hub.settle(hub.job(), CUT)
    hub.pass_time(11_000)
    assert hub.reserve() == NoCall("budget")
    month = hub.spent("month")
    hub.clock.advance(86_400_000)
    hub.pass_time(33_000)
    hub.settle(hub.job())
    assert (hub.spent("day"), hub.spent("month")) == (150, month + 150)


def test_calls_a_minute_and_at_once_are_bounded(standing_in):
    hub = standing_in(calls_a_minute=3, calls_at_once=2)
    for n in range(6):
        hub.enqueue(f"t{n}")
    hub.lose_daemon()
    jobs = [hub.job(), hub.job()]
    assert hub.reserve() == NoCall("busy")
    for job in jobs:
        hub.settle(job)
    hub.settle(hub.job())
    paced = hub.reserve()
    assert (paced.reason, 0 < paced.pause_ms <= 60_000) == ("pace", True)
    hub.pass_time(paced.pause_ms)
    assert isinstance(hub.reserve(), TakeoverCall)


def test_two_reservations_of_one_batch_see_each_other(standing_in):
    hub = standing_in(day_micro_usd=7_000)
    hub.enqueue("a")
    hub.enqueue("b")
    hub.lose_daemon()
    hub.look()
    first, second = hub.ask(ReserveCall("hub/test"), ReserveCall("hub/test"))
    assert (first.task_id, second) == ("a", NoCall("busy"))


@pytest.mark.parametrize("price", [Price(1, 5), Price(1_000_000, 1_000_000)])
def test_a_bill_beyond_all_numbers_leaves_nothing_to_spend(standing_in, price):
    """A larger number than a store takes could not be settled at all, or counted as 0 once it was read again."""
    hub = standing_in(price=price, task_micro_usd=10**12, day_micro_usd=10**12, month_micro_usd=10**12)
    for name in ("a", "b", "c"):
        hub.enqueue(name)
    hub.lose_daemon()
    most = 2**53 - 1
    billed = CallOutcome("answered", text="x", tokens=Tokens(most, most, most, most), billed="tokens")
    for job in (hub.job(), hub.job()):
        hub.settle(job, billed)
        assert hub.result(job.task_id).cost_micro_usd == most
        assert (hub.spent("day"), hub.spent("month"), hub.done(job.task_id).spent_micro_usd) == (most, most, most)
    assert hub.reserve() == NoCall("budget")


@pytest.mark.parametrize("noun", [Budget, TaskTakeover, TakeoverState])
def test_money_and_a_pause_that_cannot_be_read_allow_no_call(standing_in, noun):
    """A number that no version of ours has written counted as 0: nothing spent, and nobody paused."""
    hub = standing_in()
    hub.enqueue()
    hub.lose_daemon()
    hub.settle(hub.job(), CUT)
    hub.ask(SwitchTakeover("pause", "owner"))
    unreadable = {"paused" if noun is TakeoverState else "spent_micro_usd": 1 << 60}
    hub.store.transaction(lambda tx: tx.save_many([replace(row, **unreadable) for row in tx.load_all(noun, 10)]))
    if noun is not TakeoverState:
        hub.ask(SwitchTakeover("resume", "owner"))
    hub.pass_time(31_000)
    assert isinstance(hub.reserve(), NoCall)


def test_a_free_price_costs_nothing(standing_in):
    hub = standing_in(price=Price(0, 0), day_micro_usd=0, month_micro_usd=0, task_micro_usd=0)
    hub.enqueue()
    hub.lose_daemon()
    hub.settle(hub.job())
    assert (hub.spent(), hub.result().success) == (0, 1)


class Service:
    """What the calls of a campaign really cost, on the other side."""

    def __init__(self, seed):
        self.chance = random.Random(seed)
        self.billed = 0

    def call(self, job):
        """Answer it somehow; the bill is written whether or not the answer arrives."""
        tokens_in = self.chance.randint(1, job.prompt.worst_tokens.input)
        tokens_out = self.chance.randint(1, job.prompt.answer_tokens_max)
        kind = self.chance.random()
        if kind < 0.1:
            return CallOutcome("again", "overloaded")
        self.billed += tokens_in + 5 * tokens_out
        if kind < 0.2:
            return CUT
        return CallOutcome("answered", text="x", tokens=Tokens(tokens_in, tokens_out), billed="tokens")


@pytest.mark.parametrize("tasks", [250, pytest.param(1_000, marks=pytest.mark.soak)])
def test_tasks_with_crashes_in_the_middle_never_exceed_a_small_budget(tmp_path, tasks):
    """A real file; each crash drops everything but the file: calls on their way are lost, or lost only to us."""
    limit, path = 2_000 * tasks, tmp_path / "hub.db"
    decided = {"day_micro_usd": limit, "month_micro_usd": 10 * limit, "task_micro_usd": 20_000, "calls_at_once": 3}
    service = Service(4)
    hub = StandIn(SqliteStore(path), **decided)
    for n in range(tasks):
        hub.enqueue(f"t{n:04}")
    hub.lose_daemon()
    crashes = 0
    for _turn in range(3_000):
        under_way = []
        while isinstance(job := hub.reserve(tells=False), TakeoverCall):
            under_way.append((job, service.call(job)))
        _check(hub, limit)
        if isinstance(job, NoCall) and job.reason == "budget" and not under_way:
            break
        if service.chance.random() < 0.2 and under_way:
            crashes += 1
            hub = _crashed(hub, path, decided)
        else:
            for job, called in under_way:
                hub.settle(job, called)
        for _ in range(3):  # less than a gap each
            hub.clock.advance(1_900)
            hub.ask(RingAlarm())
    assert crashes >= 5
    assert reserved(hub) == []
    calls = hub.calls()
    assert hub.spent("day") == sum(call.spent_micro_usd for call in calls if call.settled_at)
    assert service.billed <= hub.spent("day") <= limit
    assert limit - hub.spent("day") < WORST + 1_000  # it went on until not one call more could be borne
    answered = sum(call.outcome == "answered" for call in calls)
    done = hub.store.read(lambda tx: tx.count(Query(Task, "status = 'done'"), limit=tasks))
    assert answered == done > tasks / 10
    hub.store.close()


def _check(hub, limit):
    assert hub.spent("day") + sum(reserved(hub)) <= limit


def _crashed(hub, path, decided):
    clock, seq = hub.clock, hub._seq
    hub.store.close()
    again = StandIn(SqliteStore(path), **decided)
    again.clock = again.engine.clock = clock
    again.ids._clock = clock
    again.ids._random_bits = hub.ids._random_bits
    again._seq = seq
    again.ask(CutCalls("hub/test"))
    return again


def test_a_clock_that_goes_back_to_yesterday_finds_what_was_spent_then(standing_in):
    hub = standing_in()
    hub.enqueue("a")
    hub.enqueue("b")
    hub.lose_daemon()
    hub.settle(hub.job())
    hub.clock.jump(86_400_000)
    hub.pass_time(33_000)
    hub.settle(hub.job())
    assert hub.spent("day") == 150
    hub.clock.jump(-86_400_000)
    hub.enqueue("c")
    hub.pass_time(33_000)
    hub.settle(hub.job())
    assert (hub.spent("day"), hub.spent("month")) == (300, 450)
