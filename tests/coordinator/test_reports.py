"""Which results count, on values."""

from __future__ import annotations

from typing import Any

import pytest

from understudy.coordinator import reports
from understudy.coordinator.nouns import CANCELLED, DONE, FAILED, LEASED, QUEUED, Now, Result, Task
from understudy.coordinator.reports import COUNTS, FINISHED_ANYWAY, NO_LEASE, OLDER_TOKEN, REPEATED, ReceivedResult

NOW = Now(1_770_000_000_000, 1_770_000_000_000)


def task_of(status: str = LEASED, **fields: Any) -> Task:
    return Task("t", status, **({"token": 7, "worker_id": "w"} | fields))


@pytest.mark.parametrize(
    ("task", "report", "verdict"),
    [
        (task_of(), ReceivedResult(success=True, token=7), COUNTS),
        (task_of(), ReceivedResult(success=True, token=6), OLDER_TOKEN),
        (task_of(QUEUED, ended="lost"), ReceivedResult(success=True, token=7), COUNTS),
        (task_of(QUEUED, ended="failed"), ReceivedResult(success=False, token=7), REPEATED),
        (task_of(DONE, ended="done"), ReceivedResult(success=True, token=7), REPEATED),
        (
            task_of(FAILED, ended="lost"),
            ReceivedResult(success=True, token=7),
            COUNTS,
        ),  # poison, and it was done after all
        (task_of(CANCELLED, ended="cancelled"), ReceivedResult(success=False, token=7), REPEATED),
        (task_of(CANCELLED, ended="cancelled"), ReceivedResult(success=True, token=7), FINISHED_ANYWAY),
        (task_of(is_legacy=1), ReceivedResult(success=True, worker_id="w"), COUNTS),
        (task_of(is_legacy=1), ReceivedResult(success=True), COUNTS),
        (task_of(is_legacy=1), ReceivedResult(success=True, worker_id="w2"), NO_LEASE),
        (task_of(), ReceivedResult(success=True, worker_id="w"), NO_LEASE),
    ],
)
def test_a_result_is_judged_by_its_token_and_old_clients_by_their_name(
    task: Task, report: ReceivedResult, verdict: str
) -> None:
    assert reports.verdict(task, report) == verdict


@pytest.mark.parametrize(
    ("task", "report", "lives"),
    [
        (task_of(), ReceivedResult(success=True, worker_id="w2"), True),
        (task_of(), ReceivedResult(success=True), False),
        (task_of(is_legacy=1), ReceivedResult(success=True), True),
        (task_of(DONE, is_legacy=1), ReceivedResult(success=True), False),
    ],
)
def test_whoever_names_itself_or_holds_the_lease_lives(task: Task, report: ReceivedResult, lives: bool) -> None:
    assert reports.is_sign_of_life(task, report) == lives


@pytest.mark.parametrize(
    ("failure", "is_final", "status", "ended"),
    [("blocked", False, QUEUED, "blocked"), ("odd", False, QUEUED, "failed"), ("blocked", True, FAILED, "blocked")],
)
def test_a_failure_is_tried_again_unless_it_is_final_and_keeps_its_class(
    failure: str, is_final: bool, status: str, ended: str
) -> None:
    report = ReceivedResult(success=False, token=7, failure=failure, is_final=is_final)
    after = reports.settle(task_of(max_attempts=3), report, Result("t", 0, token=7), NOW).noun
    assert (after.status, after.ended) == (status, ended)


def test_only_a_task_that_goes_back_into_the_queue_is_revived() -> None:
    assert reports.is_revived(task_of(FAILED), task_of(QUEUED))
    assert not reports.is_revived(task_of(FAILED), task_of(DONE))
    assert not reports.is_revived(task_of(), task_of(QUEUED))


@pytest.mark.parametrize(
    ("fields", "is_kept"),
    [({}, True), ({"user_id": ""}, False), ({"is_legacy": 1}, False), ({"status": QUEUED}, False)],
)
def test_a_conversation_is_kept_of_finished_tasks_of_clients_that_keep_none(
    fields: dict[str, Any], is_kept: bool
) -> None:
    assert reports.is_remembered(Task("t", **({"status": DONE, "user_id": "u"} | fields))) == is_kept


def test_a_failed_task_keeps_its_question_alone() -> None:
    done = task_of(DONE, user_id="u", channel="c", queued_at=5)
    assert [(m.id, m.role, m.content, m.created_at) for m in reports.conversation(done, "q", "a", NOW)] == [
        ("t:5:ask", "user", "q", 5),
        ("t:5:answer", "assistant", "a", NOW.wall),
    ]
    assert [m.role for m in reports.conversation(task_of(FAILED, user_id="u"), "q", "a", NOW)] == ["user"]
