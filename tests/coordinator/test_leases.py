"""Rules of leases on values: no store, no clock."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from understudy.coordinator import leases, tasks
from understudy.coordinator.leases import Grant
from understudy.coordinator.nouns import DONE, FAILED, LEASED, QUEUED, Now, Policy, Result, Task
from understudy.coordinator.transitions import TRANSITIONS

POLICY = Policy()
T0 = 1_770_000_000_000
START = Now(T0, T0)


def later(ms: int, start: Now = START) -> Now:
    return Now(start.wall + ms, start.h + ms, start.resumed_h)


def claimed(task: Task | None = None, **terms: object) -> Task:
    grant = Grant("w1", "d1", "b1", **terms)  # type: ignore[arg-type]
    return leases.claim(task or Task("t1"), grant, START, POLICY).noun


def result(task: Task, *, success: bool = True) -> Result:
    return Result(task.id, int(success), token=task.token)


def test_a_lease_is_held_until_just_before_its_end() -> None:
    task = claimed()
    assert task.expires_h == START.h + 30_000
    assert leases.is_held(task, later(29_999))
    assert not leases.is_held(task, later(30_000))
    assert leases.rung(task, later(29_999), POLICY) is None
    expired = leases.rung(task, later(30_000), POLICY)
    assert expired is not None
    assert expired.noun.ended == "expired"


def test_tokens_only_grow_even_when_the_clock_goes_back() -> None:
    first = claimed()
    lost = leases.lose(first, later(10), POLICY, "lost", "gone").noun
    again = leases.claim(lost, Grant("w2"), Now(T0 - 3_600_000, T0 + 20), POLICY).noun
    assert first.token == T0
    assert again.token == first.token + 1


@pytest.mark.parametrize(
    ("own", "needs", "claim", "expected"),
    [
        ("ask", "[]", "wait", "ask"),
        ("", "[]", "wait", "requeue"),
        ("", '["machine"]', "wait", "wait"),
        ("", '["machine"]', "", "requeue"),
        ("requeue", '["machine"]', "wait", "requeue"),
    ],
)
def test_on_loss_is_the_tasks_word_then_text_only_then_the_claims(
    own: str, needs: str, claim: str, expected: str
) -> None:
    assert leases.on_loss_of(Task("t", on_loss=own, needs=needs), claim) == expected


def test_a_wait_lease_is_short_until_its_token_is_named_and_long_after() -> None:
    task = claimed(on_loss="wait", down_after_ms=300_000)
    assert (task.expires_h, task.duration_ms) == (START.h + 30_000, 300_000)
    renewed = leases.renew(task, later(5_000))
    assert renewed is not None
    assert renewed.noun.expires_h == START.h + 305_000


def test_an_unnamed_wait_lease_ends_like_requeue_and_a_named_one_reserves_the_task() -> None:
    unnamed = claimed(on_loss="wait")
    freed = leases.lose(unnamed, later(1), POLICY, "expired", "silence").noun
    assert (freed.ready, freed.waiting_for) == (1, "")
    named = leases.renew(unnamed, later(1))
    assert named is not None
    kept = leases.lose(named.noun, later(2), POLICY, "expired", "silence")
    assert (kept.noun.ready, kept.noun.waiting_for) == (0, "d1")
    assert [event.name for event in kept.events] == ["lease.expired", "task.waiting"]


def test_a_claim_may_shorten_its_lease_and_never_lengthen_it() -> None:
    assert claimed(duration_ms=5_000).expires_h == START.h + 5_000
    assert claimed(duration_ms=600_000).expires_h == START.h + 30_000
    assert claimed(duration_ms=600_000, is_legacy=True).expires_h == START.h + 600_000


def test_a_lost_lease_is_taken_up_again_by_its_token_until_somebody_else_has_the_task() -> None:
    task = claimed()
    lost = leases.lose(task, later(30_000), POLICY, "expired", "silence").noun
    assert leases.counts_still(lost, task.token)
    taken_up = leases.renew(lost, later(31_000))
    assert taken_up is not None
    assert (taken_up.noun.status, taken_up.noun.ready) == (LEASED, 0)
    other = leases.claim(lost, Grant("w2"), later(32_000), POLICY).noun
    assert not leases.counts_still(other, task.token)


def test_an_attempt_is_stored_when_it_ends_and_the_running_one_is_its_tasks_row() -> None:
    granted = leases.claim(Task("t1"), Grant("w1", "d1", "b1"), START, POLICY)
    assert granted.save == ()
    assert [one.outcome for one in leases.attempts_of(granted.noun, ())] == [""]
    lost = leases.lose(granted.noun, later(9), POLICY, "expired", "silence")
    (ended,) = lost.save
    assert (ended.token, ended.ended_at, ended.outcome) == (granted.noun.token, T0 + 9, "expired")
    assert leases.attempts_of(lost.noun, lost.save) == [ended]
    taken_up = leases.renew(lost.noun, later(10))
    assert taken_up is not None
    running = leases.attempts_of(taken_up.noun, lost.save)
    assert [(one.token, one.ended_at, one.outcome) for one in running] == [(ended.token, 0, "")]


def test_a_released_task_is_not_taken_up_by_a_late_renewal() -> None:
    released = leases.release(claimed(), later(1), POLICY, "").noun
    assert leases.renew(released, later(2)) is None


def test_a_run_past_its_limit_and_a_minute_is_a_failed_attempt_and_renewed_no_more() -> None:
    task = claimed(Task("t1", timeout_ms=10_000))
    end = 10_000 + POLICY.overtime_ms
    assert leases.renew(task, later(end - 1)) is not None
    assert leases.renew(task, later(end)) is None
    ended = leases.rung(replace(task, expires_h=task.hard_end_h), later(end), POLICY)
    assert (ended.noun.status, ended.noun.ended, ended.noun.losses) == (FAILED, "timed_out", 0)


def test_failures_use_up_attempts_and_losses_do_not() -> None:
    task = claimed(Task("t1", max_attempts=2))
    again = leases.settle(task, result(task, success=False), later(1), is_final=False, outcome="failed").noun
    assert (again.status, again.attempts, again.ready) == (QUEUED, 1, 0)
    assert 8_000 <= again.available_at - (T0 + 1) <= 12_000
    second = claimed(again)
    failed = leases.settle(second, result(second, success=False), later(2), is_final=False, outcome="failed").noun
    assert failed.status == FAILED
    lost = leases.lose(claimed(), later(1), POLICY, "lost", "gone").noun
    assert (lost.attempts, lost.losses) == (0, 1)


def test_a_final_failure_ends_the_task_though_attempts_are_left() -> None:
    task = claimed(Task("t1", max_attempts=5))
    assert (
        leases.settle(task, result(task, success=False), later(1), is_final=True, outcome="failed").noun.status
        == FAILED
    )


def test_the_fifth_loss_is_poison_and_a_late_success_still_counts() -> None:
    task = Task("t1")
    for _ in range(5):
        task = leases.lose(claimed(task), later(1), POLICY, "lost", "gone").noun
    assert (task.status, task.losses) == (FAILED, 5)
    assert leases.counts_still(task, task.token)
    done = leases.settle(task, result(task), later(2), is_final=False, outcome="failed").noun
    assert done.status == DONE


def test_backoff_doubles_spreads_and_is_bounded() -> None:
    for attempt, plain in ((1, 10_000), (2, 20_000), (6, 320_000), (7, 600_000), (40, 600_000)):
        assert 0.8 * plain <= leases.backoff_ms("t1", attempt) <= 1.2 * plain
    assert leases.backoff_ms("t1", 1) != leases.backoff_ms("t2", 1)


def test_a_guards_last_will_is_a_loss_and_a_drain_keeps_the_reservation() -> None:
    named = leases.renew(claimed(on_loss="wait"), later(1))
    assert named is not None
    will = leases.release(named.noun, later(2), POLICY, "daemon_gone").noun
    assert (will.losses, will.waiting_for) == (1, "d1")
    drained = leases.release(named.noun, later(2), POLICY, "drain").noun
    assert (drained.losses, drained.waiting_for) == (0, "d1")
    unstarted = leases.release(named.noun, later(2), POLICY, "not_started").noun
    assert (unstarted.ready, unstarted.waiting_for) == (1, "")


@pytest.mark.parametrize("on_loss", ["requeue", "wait"])
def test_a_run_that_died_with_its_daemon_is_renewed_by_no_beat_and_lost_once(on_loss: str) -> None:
    """The beat was on its way when the last will was heard; a result of the run still counts."""
    named = leases.renew(claimed(on_loss=on_loss), later(1))
    assert named is not None
    will = leases.release(named.noun, later(2), POLICY, "daemon_gone").noun
    assert leases.renew(will, later(2)) is None
    assert leases.renew(will, later(3)) is None
    assert leases.counts_still(will, will.token)
    again = leases.renew(leases.claim(will, Grant("w2"), later(4), POLICY).noun, later(5))
    assert again is not None, "the next run lives"


def test_cancel_is_final_at_once_and_retry_starts_anew() -> None:
    cancelled = tasks.cancel(claimed(), later(1), "me")
    assert cancelled is not None
    assert cancelled.noun.status == "cancelled"
    assert tasks.cancel(cancelled.noun, later(2), "me") is None
    again = tasks.retry(cancelled.noun, later(3), "me")
    assert again is not None
    assert (again.noun.status, again.noun.ready, again.noun.finished_at) == (QUEUED, 1, 0)
    assert not leases.counts_still(again.noun, cancelled.noun.token)


def test_moving_frees_a_reserved_task_and_nothing_else() -> None:
    named = leases.renew(claimed(on_loss="wait"), later(1))
    assert named is not None
    kept = leases.lose(named.noun, later(2), POLICY, "lost", "gone").noun
    moved = tasks.move(kept, later(3), "me")
    assert moved is not None
    assert (moved.noun.ready, moved.noun.waiting_for) == (1, "")
    assert tasks.move(moved.noun, later(4), "me") is None


def test_priority_orders_without_starvation() -> None:
    day = 86_400_000
    assert tasks.order_key("critical", T0, 0) < tasks.order_key("high", T0, 0) < tasks.order_key("medium", T0, 0)
    assert tasks.order_key("medium", T0, 0) < tasks.order_key("low", T0, 0)
    assert tasks.order_key("low", T0 - 2 * day, 0) < tasks.order_key("critical", T0, 0)
    assert tasks.order_key("whatever", T0, 0) == tasks.order_key("medium", T0, 0)
    assert tasks.order_key("medium", T0, 1) > tasks.order_key("medium", T0, 0)


def test_done_has_no_way_out_and_every_way_leads_to_a_known_status() -> None:
    statuses = {QUEUED, LEASED, DONE, FAILED, "cancelled"}
    assert not [event for (status, event) in TRANSITIONS if status == DONE]
    assert set(TRANSITIONS.values()) <= statuses
