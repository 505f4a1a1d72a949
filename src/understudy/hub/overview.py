"""`GET /api/overview`: all that a home page shows, read from one snapshot."""

from __future__ import annotations

from understudy.clock import iso
from understudy.coordinator.nouns import Daemon, Task
from understudy.hub.bounds import DAEMONS_MAX
from understudy.hub.daemon_list import daemons_that_fit, size_of
from understudy.hub.periods import DAY_MS, Timelines
from understudy.hub.queue_depth import queue_depth
from understudy.hub.takeover_view import takeover_answer
from understudy.hub.views import View
from understudy.store.queries import INCIDENTS_OPEN, RUNNING
from understudy.wire.answers.base import if_any
from understudy.wire.answers.events import IncidentJson, incident_json
from understudy.wire.answers.overview import (
    PROGRESS_CHARS_MAX,
    DaemonOverview,
    HubOverview,
    OverviewAnswer,
    QueueDepth,
    RunOverview,
    period_json,
    run_json,
)

RUNS_MAX = 1_000
PERIOD_BYTES = 100  # of a period's JSON


def overview(view: View) -> OverviewAnswer:
    """All of it; the bars reach back 24 hours."""
    since_at = view.now.wall - DAY_MS
    timelines = Timelines(view, since_at)

    def bytes_of(daemon: Daemon) -> int:
        return size_of(daemon) + PERIOD_BYTES * timelines.count_max(daemon)

    daemons, last = daemons_that_fit(view.reader, bytes_of=bytes_of)
    depth = queue_depth(view.reader)
    oldest_s = max(view.now.wall - depth.oldest_at, 0) / 1000 if depth.oldest_at else 0
    return OverviewAnswer(
        at=iso(view.now.wall),
        periods_since=iso(since_at),
        queue=QueueDepth(depth.waiting, depth.leased, oldest_s),
        daemons=[
            view.daemon_as(daemon, DaemonOverview, periods=[period_json(one) for one in timelines.of(daemon)])
            for daemon in daemons
        ],
        runs=runs_of(view, view.reader.find(RUNNING, limit=RUNS_MAX)),
        open_incidents=open_incidents(view),
        takeover=takeover_answer(view),
        hubs=[HubOverview(one.hub, one.package_version, one.created_at) for one in view.hubs()],
        daemons_next=if_any(last),
    )


def runs_of(view: View, tasks: list[Task]) -> list[RunOverview]:
    """These tasks, which are leased, with their progress."""
    shown = view.reader.progress_shown([task.id for task in tasks], PROGRESS_CHARS_MAX)
    progress = {row.task_id: row for row in shown}
    return [run_json(task, progress.get(task.id)) for task in tasks]


def open_incidents(view: View) -> list[IncidentJson]:
    """The silences that last, newest first: of each daemon at most one, also of those that are on no page yet."""
    return [incident_json(incident) for incident in view.reader.find(INCIDENTS_OPEN, limit=DAEMONS_MAX)]
