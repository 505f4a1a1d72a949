"""What is kept of what a daemon says: all of an ordinary one, and little of one that says very much."""

from __future__ import annotations

import msgspec
from msgspec.structs import replace

from tests.coordinator.test_beats import BEAT, NOW, daemon_of, heard, names
from understudy.coordinator.kept import RUNS_BYTES_MIN, SAID_BYTES_MAX, kept_json, kept_runs
from understudy.coordinator.nouns import LEASED, Task
from understudy.coordinator.renewals import NamedRun
from understudy.coordinator.stuck import trouble_said

LONG = [("\U0001f600" * 60) + str(n) for n in range(256)]


def tasks_of(text: str) -> list[str]:
    return [run["taskId"] for run in msgspec.json.decode(text)]


def test_tags_of_an_ordinary_daemon_are_all_kept() -> None:
    tags = [f"tag{n:03}-of-fifty-characters-that-nobody-has-in-truth" for n in range(256)]
    assert msgspec.json.decode(daemon_of(heard(replace(BEAT, provides=tags))).provides) == tags


def test_the_first_tags_that_fit_are_kept() -> None:
    kept = daemon_of(heard(replace(BEAT, provides=LONG))).provides
    assert len(kept.encode()) <= SAID_BYTES_MAX
    assert msgspec.json.decode(kept) == LONG[: len(msgspec.json.decode(kept))]
    assert kept_json([], 2) == "[]"
    assert kept_json(["ab", "c"], 6) == '["ab"]'


def test_runs_are_kept_beside_the_rest_and_those_that_are_stuck_first() -> None:
    runs = [NamedRun(f"task-{n:03}", n, "2026-01-01T00:00:00Z", 1, 600) for n in range(256)]
    runs[200] = replace(runs[200], idle_s=700)
    assert tasks_of(kept_runs(runs[:48], "x" * 500)) == [run.task_id for run in runs[:48]]
    few = kept_runs(runs, "x" * SAID_BYTES_MAX)
    assert tasks_of(few)[:2] == ["task-200", "task-000"]
    assert RUNS_BYTES_MIN - 200 < len(few) <= RUNS_BYTES_MIN


def test_leases_are_judged_by_all_runs_that_a_beat_names() -> None:
    runs = tuple(NamedRun("t" * 120 + str(n), 7, "2026-01-01T00:00:00Z", 1, 600) for n in range(256))
    times = {"duration_ms": 20_000, "expires_h": NOW.h + 1, "hard_end_h": NOW.h + 60_000}
    held = tuple(Task(run.task_id, status=LEASED, token=7, daemon_id="mini", boot_id="b1", **times) for run in runs)
    after = heard(replace(BEAT, runs=runs, provides=LONG), held=held, tasks={task.id: task for task in held})
    renewed = {row.id for row in after.draft.save if isinstance(row, Task) and row.expires_h > NOW.h + 1}
    assert renewed == {task.id for task in held}
    assert (after.lost, after.cancelled) == ([], [])
    assert 0 < len(tasks_of(daemon_of(after).running)) < len(runs)


def test_a_stuck_run_among_very_many_is_told_with_its_reason() -> None:
    runs = [NamedRun(f"task-{n:03}", n, "2026-01-01T00:00:00Z", 1, 600) for n in range(256)]
    runs[255] = replace(runs[255], idle_s=700)
    after = heard(replace(BEAT, runs=tuple(runs)))
    trouble = trouble_said(daemon_of(after))
    assert "daemon.stuck" in names(after)
    assert trouble is not None
    assert trouble.what == "task-255"
