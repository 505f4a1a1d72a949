"""What a beat says of a run."""

from __future__ import annotations

import msgspec
import pytest

from tests.worker.stage import Stage
from understudy.daemon.heartbeat import Beat, _detail
from understudy.wire.limits import CHECKPOINT_BYTES_MAX
from understudy.worker.effects import HubAnswer
from understudy.worker.executors import RunProgress, TaskToRun
from understudy.worker.results import RunResult
from understudy.worker.state import RUNNING_NAMED_MAX, UNDELIVERED_MAX, Lease, Run

QUOTES = 2


@pytest.mark.parametrize(
    ("checkpoint", "is_named"),
    [
        ("x" * (CHECKPOINT_BYTES_MAX - QUOTES), True),
        ("x" * (CHECKPOINT_BYTES_MAX - QUOTES + 1), False),
        ("\x01" * 16_000, False),  # six bytes each: the hub would keep nothing of what the run said
        ("\u4e16" * 16_000, True),
        ("\u4e16" * 22_000, False),
    ],
    ids=["fits", "a byte too many", "control characters", "Japanese", "too much Japanese"],
)
def test_checkpoint_is_named_if_the_hub_takes_it(checkpoint: str, is_named: bool) -> None:
    run = Run("r1", TaskToRun(id="t1"), Lease(token=7, on_loss="wait", duration_ms=30_000, first_ms=30_000), 0, 0)
    entry = _detail(run, RunProgress(at=1, checkpoint=checkpoint))
    assert ("checkpoint" in entry) == is_named
    assert len(msgspec.json.encode(entry.get("checkpoint", ""))) <= CHECKPOINT_BYTES_MAX


@pytest.mark.parametrize("undelivered", [0, 100, UNDELIVERED_MAX - 1, RUNNING_NAMED_MAX])
def test_no_more_is_claimed_than_a_beat_can_name_beside_the_undelivered_results(undelivered: int) -> None:
    """What a beat leaves out is lost for the hub, and finished work ran again."""
    state = Stage(lambda _: (1, HubAnswer(200, {})), capacity=100).state
    for nth in range(undelivered):
        state.results[f"x{nth}"] = RunResult(f"x{nth}", f"done-{nth}", nth + 1, success=True)
    while state.free_slots():
        nth = len(state.runs)
        state.runs[f"r{nth}"] = Run(f"r{nth}", TaskToRun(f"t{nth}"), Lease(5, "wait", 30_000, 30_000), 0, 0)
    assert len(state.runs) == min(100, RUNNING_NAMED_MAX - undelivered)
    beat = Beat(state)
    assert (len(beat.runs), len(beat.results)) == (len(state.runs), undelivered)
