"""Whose task a call is made for, and what is spent by calls that were cut; on values."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from tests.coordinator.takeover_views import HERE, NOW, TASK, call, view
from understudy.coordinator import calls
from understudy.coordinator.calls import Answerable, NoCall, Reserved, TakeoverView
from understudy.coordinator.changes import Draft
from understudy.coordinator.nouns import LEASED, Task
from understudy.coordinator.takeover import CallOutcome, after_call
from understudy.coordinator.takeover_nouns import Budget, Reservation, TakeoverPolicy, TakeoverState, TaskTakeover

POLICY = TakeoverPolicy()


def wish(task: Task = TASK, question: str = "2+2?", **done: Any) -> Answerable:
    return Answerable(task, TaskTakeover(task.id, **done), question)


def reserve(at: TakeoverView, *wishes: Answerable) -> tuple[Reserved | NoCall, Draft]:
    draft = Draft()
    return calls.reserve(draft, at, wishes, "call-1", "hub", NOW), draft


@pytest.mark.parametrize(
    ("at", "reason", "pause_ms"),
    [
        (view(mode="off"), "notify", 60_000),
        (view(has_key=False), "no_key", 60_000),
        (view(state=TakeoverState(paused=1)), "paused", 60_000),
        (view(state=TakeoverState(circuit="authentication")), "authentication", 60_000),
        (view(state=TakeoverState(resting_until_h=NOW.h + 5_000)), "resting", 5_000),
        (view(call("a"), call("b")), "busy", 60_000),
        (view(state=TakeoverState(minute=NOW.wall // 60_000, minute_calls=10)), "pace", 60_000 - NOW.wall % 60_000),
    ],
)
def test_what_stops_every_call_stops_this_one(at: TakeoverView, reason: str, pause_ms: int) -> None:
    found, draft = reserve(at, wish())
    assert (found, draft.save) == (NoCall(reason, pause_ms), [])


@pytest.mark.parametrize("kind", ["answered", "failed"])
def test_a_call_that_began_before_shortens_no_rest(kind: str) -> None:
    resting = after_call(TakeoverState(), CallOutcome("again", "rate_limit", wait_ms=300_000), "b", NOW, POLICY)
    assert after_call(resting, CallOutcome(kind), "a", NOW, POLICY) == resting
    later = replace(NOW, h=resting.resting_until_h)
    assert after_call(resting, CallOutcome(kind), "c", later, POLICY) == TakeoverState()


def test_a_task_without_needs_is_leased_for_as_long_as_its_call_may_take() -> None:
    found, draft = reserve(view(), wish())
    assert isinstance(found, Reserved)
    assert (found.call.token, found.task.token, found.task.worker_id) == (found.task.token, NOW.wall, "hub")
    assert found.task.expires_h == found.call.expires_h == NOW.h + 60_000 + calls.LEASE_MARGIN_MS
    assert found.call in draft.save
    (state,) = (row for row in draft.save if isinstance(row, TakeoverState))
    assert (state.minute, state.minute_calls) == (NOW.wall // 60_000, 1)


def test_a_task_for_a_machine_gets_an_interim_answer_and_no_lease() -> None:
    found, draft = reserve(view(mode="interim"), wish(Task("t")))
    assert isinstance(found, Reserved)
    assert (found.call.token, [row for row in draft.save if isinstance(row, Task)]) == (0, [])


@pytest.mark.parametrize(
    ("at", "one"),
    [
        (view(), wish(Task("t"))),  # for a machine: answered only in the meantime
        (view(), wish(replace(TASK, status=LEASED))),
        (view(), wish(replace(TASK, ready=0))),
        (view(), wish(replace(TASK, takeover="never"))),
        (view(), wish(not_before_h=NOW.h + 1)),
        (view(call("t"), calls_at_once=9), wish()),
        (view(standby=HERE), wish()),
        (view(mode="interim"), wish(Task("t"), interim_at=1)),
    ],
)
def test_a_task_that_is_not_wanted_now_is_passed_over(at: TakeoverView, one: Answerable) -> None:
    found, _ = reserve(at, one, wish(Task("next", needs="[]")))
    if at.daemon_groups == (HERE,):
        assert found == NoCall("no_task")
    else:
        assert isinstance(found, Reserved)
        assert found.task.id == "next"


@pytest.mark.parametrize(
    ("question", "reason"), [("", "no_question"), (" \n", "no_question"), ("x" * 100_000, "too_dear")]
)
def test_a_task_that_no_call_is_made_for_rests_and_the_next_one_is_looked_at(question: str, reason: str) -> None:
    found, draft = reserve(view(), wish(question=question), wish(Task("next", needs="[]")))
    assert isinstance(found, Reserved)
    assert TaskTakeover("t", not_before_h=NOW.h + calls.TOO_DEAR_RESTS_MS) in draft.save
    assert [event.name for event in draft.events] == ["takeover.refused", "task.claimed"]
    assert draft.events[0].fields["reason"] == reason


def test_a_budget_that_cannot_bear_the_worst_case_ends_the_look() -> None:
    spent = {"day": Budget("2026-02-02", "day", 999_999), "month": Budget("2026-02", "month")}
    found, draft = reserve(replace(view(), budgets=spent), wish())
    assert (found, [event.name for event in draft.events]) == (NoCall("budget"), ["budget.spent"])


def test_calls_that_were_cut_are_spent_whole_and_their_leases_lost() -> None:
    draft = Draft()
    leased = replace(TASK, status=LEASED, token=7)
    cut = (call("t", 7, 500), call("other", 3, 200))
    done = {"t": TaskTakeover("t", spent_micro_usd=40)}
    assert calls.cut(draft, view(*cut), cut, {"t": leased, "other": Task("other", token=9)}, done, NOW) == (("t", 7),)
    spent = {row.task_id: row.spent_micro_usd for row in draft.save if isinstance(row, TaskTakeover)}
    assert spent == {"t": 540, "other": 200}
    assert [(row.spent_micro_usd, row.calls) for row in draft.save if isinstance(row, Budget)] == [(700, 2), (700, 2)]
    assert {row.outcome for row in draft.save if isinstance(row, Reservation)} == {"cut"}


def test_without_calls_that_were_cut_nothing_is_written() -> None:
    draft = Draft()
    assert calls.cut(draft, view(), (), {}, {}, NOW) == ()
    assert (draft.save, draft.events) == ([], [])
