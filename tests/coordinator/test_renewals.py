"""What a beat's list of runs means for leases: renewed, ended, lost, cancelled."""

from __future__ import annotations

from typing import Any

import pytest

from understudy.coordinator import renewals
from understudy.coordinator.nouns import CANCELLED, LEASED, NAMED, Now, Policy, Progress, Task
from understudy.coordinator.renewals import NamedRun, Renewals, Speaker

NOW = Now(1_000_000, 1_000_000)
POLICY = Policy(lease_ms=30_000)
SPEAKER = Speaker("mini", "b1", is_newer=True, lists_runs=True)


def leased(**fields: Any) -> Task:
    defaults: dict[str, Any] = {"status": LEASED, "ready": 0, "token": 7, "daemon_id": "mini", "boot_id": "b1"}
    times = {"duration_ms": 20_000, "expires_h": NOW.h + 5_000, "hard_end_h": NOW.h + 60_000}
    return Task("t", **(defaults | times | {"worker_id": "w"} | fields))


def judged(task: Task, *runs: NamedRun, speaker: Speaker = SPEAKER) -> Renewals:
    return renewals.judge(speaker, runs, (task,), {task.id: task}, NOW, POLICY)


def test_a_named_lease_is_renewed_for_its_duration() -> None:
    after = judged(leased(), NamedRun("t", 7))
    assert [change.noun.expires_h for change in after.changes] == [NOW.h + 20_000]
    assert (after.lost, after.cancelled, after.shortest_ms) == ([], [], 20_000)


@pytest.mark.parametrize(
    "speaker", [Speaker("mini", "b1", is_overtaken=True), Speaker("mini", is_sign_of_life=False, lists_runs=True)]
)
def test_an_overtaken_beat_and_one_without_its_machine_renew_nothing(speaker: Speaker) -> None:
    after = judged(leased(), NamedRun("t", 7), speaker=speaker)
    assert (after.changes, after.lost, after.shortest_ms) == ([], [], POLICY.lease_ms)


def test_an_older_token_a_finished_run_and_an_unknown_task_are_lost() -> None:
    task = leased()
    assert judged(task, NamedRun("t", 6), NamedRun("gone", 1)).lost == ["t", "gone"]
    assert judged(leased(hard_end_h=NOW.h), NamedRun("t", 7)).lost == ["t"]


def test_a_cancelled_task_is_named_as_such() -> None:
    assert judged(leased(status=CANCELLED), NamedRun("t", 7)).cancelled == ["t"]


def test_a_lease_of_an_older_boot_is_lost_although_it_was_never_named() -> None:
    (change,) = judged(leased(boot_id="b0")).changes
    assert (change.noun.ended, [event.name for event in change.events]) == ("lost", ["lease.lost"])


@pytest.mark.parametrize(
    ("speaker", "lease_flags", "is_ended"),
    [
        (SPEAKER, NAMED, True),
        (SPEAKER, 0, False),  # granted while the beat was on its way
        (Speaker("mini", "b1", is_newer=True, lists_runs=True, is_stopping=True), 0, True),
        (Speaker("mini", "b1", is_newer=False, lists_runs=True), NAMED, False),
        (Speaker("mini", "b1", is_newer=True, lists_runs=False), NAMED, False),
        (Speaker("mini", "", is_newer=True, lists_runs=True), NAMED, False),
        (Speaker("other", "b1", is_newer=True, lists_runs=True), NAMED, False),
    ],
)
def test_a_lease_that_is_left_out_ends_if_it_was_named_before(
    speaker: Speaker, lease_flags: int, is_ended: bool
) -> None:
    assert bool(judged(leased(lease_flags=lease_flags), speaker=speaker).changes) == is_ended


def test_a_lease_that_this_beat_ended_is_not_renewed_by_its_older_token() -> None:
    after = judged(leased(boot_id="b0"), NamedRun("t", 6))
    assert ([change.noun.ended for change in after.changes], after.lost) == (["lost"], ["t"])


def test_progress_is_of_one_attempt_and_a_checkpoint_outlives_it() -> None:
    before = Progress("t", 6, 1, '"half"', '{"at":5}')
    after = renewals.progress_after(before, NamedRun("t", 7, checkpoint=None, progress='"begun"'), NOW)
    assert after == Progress("t", 7, NOW.wall, '"begun"', '{"at":5}')
    assert renewals.progress_after(before, NamedRun("t", 7, checkpoint='{"at":6}'), NOW) == Progress(
        "t", 7, NOW.wall, "", '{"at":6}'
    )
    assert renewals.progress_after(before, NamedRun("t", 6, checkpoint="1"), NOW) == Progress(
        "t", 6, NOW.wall, '"half"', "1"
    )


def test_a_run_that_says_nothing_new_changes_no_progress() -> None:
    assert renewals.progress_after(None, NamedRun("t", 7), NOW) is None


def test_progress_is_kept_only_of_runs_that_have_their_task_still() -> None:
    runs = (NamedRun("t", 7, progress="1"), NamedRun("t2", 1, progress="2"), NamedRun("gone", 1, progress="3"))
    tasks = {"t": leased(), "t2": leased(token=9)}
    assert [row.task_id for row in renewals.progress_of(runs, tasks, {}, NOW)] == ["t"]
