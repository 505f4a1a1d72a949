"""The answer that a home page is drawn from: daemons, what runs, the queue, silences, takeover."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import UNSET, UnsetType

from understudy.clock import iso
from understudy.coordinator.nouns import Period, Progress, Task
from understudy.wire.answers.base import Answer, Instant, as_stored, if_any, one_of
from understudy.wire.answers.daemons import DaemonJson
from understudy.wire.answers.events import IncidentJson
from understudy.wire.answers.takeover import TakeoverAnswer

PROGRESS_CHARS_MAX = 4_096  # a longer one is left out: the record of its task has it
Health = Annotated[
    str, one_of("new", "healthy", "late", "down", "stuck", "asleep", "paused", "draining", "stopped", "unknown")
]


class HealthPeriod(Answer, frozen=True):
    """A stretch of time in one state of health; `unknown` while no hub could hear."""

    state: Health
    from_at: Instant
    to_at: Instant


class DaemonOverview(DaemonJson, frozen=True, kw_only=True):
    """A daemon, and how it was since `periodsSince`."""

    periods: list[HealthPeriod]


class RunOverview(Answer, frozen=True):
    """A task that is leased now; `daemonId` is absent for a legacy client and for the hub itself."""

    task_id: str
    worker_id: str
    claimed_at: Instant
    source: str
    daemon_id: str | UnsetType = UNSET
    progress: Any = UNSET
    progress_at: Instant | UnsetType = UNSET


class QueueDepth(Answer, frozen=True):
    """The unfinished tasks, counted up to 100,000; `oldestSec` is how long the first of the queue has waited."""

    waiting: int
    leased: int
    oldest_sec: float


class HubOverview(Answer, frozen=True):
    """A hub that serves now."""

    name: str
    version: str
    started_at: Instant


class OverviewAnswer(Answer, frozen=True):
    """All that a home page shows, of one moment; `daemonsNext` is the cursor of `GET /api/daemons` for the rest."""

    at: Instant
    periods_since: Instant
    queue: QueueDepth
    daemons: list[DaemonOverview]
    runs: list[RunOverview]
    open_incidents: list[IncidentJson]
    takeover: TakeoverAnswer
    hubs: list[HubOverview]
    daemons_next: str | UnsetType = UNSET


def period_json(period: Period) -> HealthPeriod:
    """A stretch of a timeline."""
    return HealthPeriod(period.state, iso(period.from_at), iso(period.to_at))


def run_json(task: Task, progress: Progress | None) -> RunOverview:
    """A leased task with the last progress of its lease."""
    run = RunOverview(task.id, task.worker_id, iso(task.claimed_at), task.source, if_any(task.daemon_id))
    if progress is None or progress.token != task.token or not 0 < len(progress.progress) <= PROGRESS_CHARS_MAX:
        return run
    said = as_stored(progress.progress)
    return RunOverview(run.task_id, run.worker_id, run.claimed_at, run.source, run.daemon_id, said, iso(progress.at))
