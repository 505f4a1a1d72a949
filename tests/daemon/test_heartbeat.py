"""What a beat says of a run."""

from __future__ import annotations

import msgspec
import pytest

from understudy.daemon.heartbeat import _detail
from understudy.wire.limits import CHECKPOINT_BYTES_MAX
from understudy.worker.executors import RunProgress, TaskToRun
from understudy.worker.state import Lease, Run

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
