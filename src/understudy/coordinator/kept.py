"""Bounds what a row keeps of that which its daemon says of itself: every list of daemons reads whole rows.

Leases are not judged by it, but by all the runs that a beat names.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from understudy.coordinator.renewals import NamedRun
from understudy.coordinator.stuck import is_over

SAID_BYTES_MAX = 16 << 10  # of tags, loops, logins and runs together; the tags alone may have all of it
RUNS_BYTES_MIN = 2 << 10  # that are kept of its runs in any case


def kept_json(values: Sequence[Any], bytes_max: int) -> str:
    """These as JSON, the first ones that fit."""
    raw = msgspec.json.encode(values)
    return (raw if len(raw) <= bytes_max else msgspec.json.encode(_first(values, bytes_max))).decode()


def kept_runs(runs: Sequence[NamedRun], *others: str) -> str:
    """Its runs beside everything else that it says; where they are too many, those first that are stuck."""
    shown = msgspec.json.encode([_shown(run) for run in runs])
    if len(shown) <= RUNS_BYTES_MIN:
        return shown.decode()
    room = max(SAID_BYTES_MAX - sum(len(text.encode()) for text in others), RUNS_BYTES_MIN)
    if len(shown) <= room:
        return shown.decode()
    stuck_first = sorted(runs, key=lambda run: not is_over(run.idle_s, run.idle_limit_s))
    return kept_json([_shown(run) for run in stuck_first], room)


def _first(values: Sequence[Any], bytes_max: int) -> list[Any]:
    kept: list[Any] = []
    for value in values:
        bytes_max -= len(msgspec.json.encode(value)) + 1
        if bytes_max <= 0:
            break
        kept.append(value)
    return kept


def _shown(run: NamedRun) -> dict[str, Any]:
    said: dict[str, Any] = {"taskId": run.task_id, "token": run.token}
    if run.progress_at:
        said["progressAt"] = run.progress_at
    if run.idle_limit_s:
        said |= {"idleSec": run.idle_s, "idleLimitSec": run.idle_limit_s}
    return said
