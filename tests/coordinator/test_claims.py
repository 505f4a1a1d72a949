"""Who may have which tasks, on values."""

from __future__ import annotations

from typing import Any

import pytest

from understudy.coordinator import claims
from understudy.coordinator.claims import Claimable
from understudy.coordinator.leases import Grant
from understudy.coordinator.nouns import DONE, LEASED, QUEUED, Daemon, Now, Policy, Task

NOW = Now(1_770_000_000_000, 1_770_000_000_000)
GRANT = Grant("w", "mini", "b1", "request-1")


def leased(*candidates: Claimable, count: int = 2) -> list[Task]:
    changes = claims.lease(candidates, GRANT, frozenset({"mini", "w"}), count, NOW, Policy())
    return [change.noun for change in changes]


@pytest.mark.parametrize(
    ("provides", "capabilities", "tags"),
    [
        ('["machine"]', "[]", {"machine"}),
        ('["machine"]', '["shell"]', {"machine", "shell"}),
        ('["gpu"]', '["x"]', {"gpu", "x"}),  # what beats say counts for itself
        ("no json", "[]", {"machine"}),
        ('["gpu"]', "3", {"machine"}),
    ],
)
def test_tags_are_what_is_provided_and_old_daemons_always_offer_their_machine(
    provides: str, capabilities: str, tags: set[str]
) -> None:
    assert claims.tags_of(provides, capabilities) == tags


@pytest.mark.parametrize(
    ("state", "paused", "is_barred"),
    [("healthy", 0, False), ("stuck", 0, False), ("healthy", 1, True), ("draining", 0, True), ("stopped", 0, True)],
)
def test_a_daemon_that_wants_no_work_gets_none(state: str, paused: int, is_barred: bool) -> None:
    assert claims.is_barred(Daemon("mini", state, paused=paused)) == is_barred


@pytest.mark.parametrize(
    ("fields", "may_have"),
    [
        ({}, True),
        ({"ready": 0}, False),
        ({"ready": 0, "waiting_for": "mini"}, True),
        ({"ready": 0, "waiting_for": "other"}, False),
        ({"status": LEASED}, False),
        ({"status": DONE}, False),
    ],
)
def test_a_task_is_for_all_or_for_the_daemon_that_it_waits_for(fields: dict[str, Any], may_have: bool) -> None:
    assert claims.may_have(Task("t", **fields), frozenset({"mini"})) == may_have


@pytest.mark.parametrize(
    ("other", "is_granted"),
    [
        ({}, True),
        ({"status": QUEUED}, False),
        ({"worker_id": "w2"}, False),
        ({"boot_id": "b0"}, False),
        ({"request_id": "request-2"}, False),
    ],
)
def test_the_same_request_finds_its_lease_while_the_same_boot_holds_it(other: dict[str, Any], is_granted: bool) -> None:
    held = {"status": LEASED, "worker_id": "w", "daemon_id": "mini", "boot_id": "b1", "request_id": "request-1"}
    assert claims.is_granted(Task("t", **(held | other)), GRANT) == is_granted


def test_a_claim_takes_what_is_free_in_order_and_no_more_than_it_asks_for() -> None:
    taken = Task("taken", status=LEASED)
    after = leased(*(Claimable(task) for task in (taken, Task("a"), Task("b"), Task("c"))))
    assert [(task.id, task.status, task.worker_id) for task in after] == [("a", LEASED, "w"), ("b", LEASED, "w")]


def test_what_cannot_be_read_is_set_aside_and_those_behind_it_are_leased() -> None:
    after = leased(Claimable(Task("bad"), is_readable=False), Claimable(Task("good")), count=1)
    assert [(task.id, task.status, task.ready) for task in after] == [("bad", QUEUED, 0), ("good", LEASED, 0)]
    assert after[0].available_at > NOW.wall


def test_an_answer_carries_one_task_however_large_and_then_what_fits() -> None:
    large = claims.ANSWER_CHARS_MAX
    assert [task.id for task in leased(Claimable(Task("a"), large), Claimable(Task("b"), 1))] == ["a"]
    assert [task.id for task in leased(Claimable(Task("a"), large - 1), Claimable(Task("b"), 9))] == ["a", "b"]
