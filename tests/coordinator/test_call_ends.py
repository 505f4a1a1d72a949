"""What the end of a call means for money, circuit and task; on values."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from tests.coordinator.takeover_views import NOW, TASK, call, view
from understudy.coordinator import call_ends, takeover
from understudy.coordinator.changes import Draft
from understudy.coordinator.nouns import DONE, LEASED, Policy, Task
from understudy.coordinator.prices import Tokens
from understudy.coordinator.takeover import CallOutcome
from understudy.coordinator.takeover_nouns import Budget, TakeoverState, TaskTakeover

ANSWERED = CallOutcome("answered", text="four", tokens=Tokens(100, 10), billed="tokens")
BEFORE = TaskTakeover("t", spent_micro_usd=40)


def test_a_call_is_settled_once_at_what_it_cost() -> None:
    draft, open_call = Draft(), call()
    done, cost = call_ends.settle(draft, view(open_call), open_call, ANSWERED, BEFORE, NOW)
    assert (cost, done.spent_micro_usd) == (150, 190)
    assert [row.spent_micro_usd for row in draft.save if isinstance(row, Budget)] == [150, 150]
    again = Draft()
    settled = replace(open_call, settled_at=1, spent_micro_usd=150)
    assert call_ends.settle(again, view(), settled, ANSWERED, BEFORE, NOW) == (BEFORE, 150)
    assert call_ends.settle(again, view(), None, ANSWERED, BEFORE, NOW) == (BEFORE, 0)
    assert again.save == []


def test_a_call_whose_bill_nobody_knows_costs_what_was_reserved() -> None:
    _, cost = call_ends.settle(
        Draft(), view(), call(micro_usd=500), CallOutcome("again", billed="unknown"), BEFORE, NOW
    )
    assert cost == 500


def test_a_refusal_of_all_calls_opens_the_circuit_with_one_event() -> None:
    stop = CallOutcome("stop", "authentication")
    first, second = Draft(), Draft()
    call_ends.settle(first, view(), call(), stop, BEFORE, NOW)
    (state,) = (row for row in first.save if isinstance(row, TakeoverState))
    call_ends.settle(second, view(state=state), call(), stop, BEFORE, NOW)
    assert ([event.name for event in first.events], second.events) == (["takeover.circuit_open"], [])


@pytest.mark.parametrize(
    ("first", "second", "circuit", "is_said"),
    [
        ("authentication", "credit", "authentication", False),
        ("authentication", "spend_limit", "authentication", False),
        ("spend_limit", "authentication", "authentication", True),
    ],
)
def test_of_two_refusals_the_one_that_holds_longer_counts(first: str, second: str, circuit: str, is_said: bool) -> None:
    state = takeover.after_call(TakeoverState(), CallOutcome("stop", first), "c", NOW, view().policy.takeover)
    draft = Draft()
    call_ends.settle(draft, view(state=state), call(), CallOutcome("stop", second), BEFORE, NOW)
    (after,) = [row for row in draft.save if isinstance(row, TakeoverState)]
    assert (after.circuit, after.circuit_until_at) == (circuit, 0)
    assert [event.fields["reason"] for event in draft.events] == ([second] if is_said else [])


@pytest.mark.parametrize(
    ("tries", "kind", "after", "rests"),
    [(0, "again", 1, False), (takeover.TRIES_MAX - 1, "again", 0, True), (1, "stop", 1, False)],
)
def test_a_task_rests_after_some_failed_calls(tries: int, kind: str, after: int, rests: bool) -> None:
    done = call_ends.with_try(TaskTakeover("t", tries=tries), CallOutcome(kind), NOW)
    assert (done.tries, bool(done.not_before_h)) == (after, rests)


def test_a_task_that_may_be_the_cause_of_a_refusal_rests_at_once() -> None:
    done = call_ends.with_try(TaskTakeover("t"), CallOutcome("stop", "request", is_suspect=True), NOW)
    assert done.not_before_h == NOW.h + takeover.TASK_RESTS_MS
    again = call_ends.with_try(done, CallOutcome("again", "server"), NOW)
    assert (done.tries, again.tries) == (takeover.TRIES_MAX, takeover.TRIES_MAX), "suspect until it is answered"
    assert call_ends.without_tries(again).tries == 0


@pytest.mark.parametrize(("token", "is_released"), [(7, True), (6, False), (0, False)])
def test_only_the_lease_of_the_call_is_given_back(token: int, is_released: bool) -> None:
    draft, leased = Draft(), replace(TASK, status=LEASED, token=7)
    assert call_ends.put_back(draft, leased, token, CallOutcome("again"), NOW, Policy()) == is_released
    assert any(isinstance(row, Task) and row.ready for row in draft.save) == is_released


def test_the_first_interim_answer_stays() -> None:
    draft, first = Draft(), replace(BEFORE, interim_answer='"first"', interim_at=1)
    call_ends.keep_interim_answer(draft, Task("t"), first, ANSWERED, 150, NOW)
    assert (draft.save, draft.events) == ([first], [])


@pytest.mark.parametrize(
    ("task", "called", "is_kept"),
    [
        (Task("t"), ANSWERED, True),
        (Task("t", DONE), ANSWERED, False),
        (Task("t"), CallOutcome("failed", "refused"), False),
    ],
)
def test_an_interim_answer_is_kept_while_the_task_waits(task: Task, called: CallOutcome, is_kept: bool) -> None:
    draft = Draft()
    call_ends.keep_interim_answer(draft, task, BEFORE, called, 150, NOW)
    (done,) = draft.save
    assert isinstance(done, TaskTakeover)
    assert (done.interim_answer == '"four"', bool(draft.events)) == (is_kept, is_kept)
    assert bool(done.not_before_h) == (called.kind == "failed")
