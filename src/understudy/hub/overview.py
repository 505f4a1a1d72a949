"""`GET /api/overview`: all that a home page shows, read from one snapshot."""

from __future__ import annotations

from collections.abc import Iterable

from understudy.clock import iso
from understudy.coordinator.nouns import Daemon, Incident, Progress, Task
from understudy.hub.periods import DAY_MS, periods_of_all
from understudy.hub.queue_depth import queue_depth
from understudy.hub.takeover_view import takeover_answer
from understudy.hub.views import DAEMONS_MAX, View
from understudy.store.queries import RUNNING
from understudy.wire.answers.events import IncidentJson, incident_json
from understudy.wire.answers.overview import (
    DaemonOverview,
    HubOverview,
    OverviewAnswer,
    QueueDepth,
    RunOverview,
    period_json,
    run_json,
)

RUNS_MAX = 1_000


def overview(view: View) -> OverviewAnswer:
    """All of it; the bars reach back 24 hours."""
    since_at = view.now.wall - DAY_MS
    daemons = view.reader.load_all(Daemon, DAEMONS_MAX)
    periods = periods_of_all(view, daemons, since_at)
    depth = queue_depth(view.reader)
    oldest_s = max(view.now.wall - depth.oldest_at, 0) / 1000 if depth.oldest_at else 0
    return OverviewAnswer(
        at=iso(view.now.wall),
        periods_since=iso(since_at),
        queue=QueueDepth(depth.waiting, depth.leased, oldest_s),
        daemons=[
            view.daemon_as(daemon, DaemonOverview, periods=[period_json(period) for period in periods[daemon.id]])
            for daemon in daemons
        ],
        runs=runs_of(view, view.reader.find(RUNNING, limit=RUNS_MAX)),
        open_incidents=open_incidents(view, daemons),
        takeover=takeover_answer(view),
        hubs=[HubOverview(one.hub, one.package_version, one.created_at) for one in view.hubs()],
    )


def runs_of(view: View, tasks: list[Task]) -> list[RunOverview]:
    """These tasks, which are leased, with their progress."""
    progress = {row.task_id: row for row in view.reader.load_many(Progress, [task.id for task in tasks])}
    return [run_json(task, progress.get(task.id)) for task in tasks]


def open_incidents(view: View, daemons: Iterable[Daemon]) -> list[IncidentJson]:
    """The silences of these that last, newest first."""
    found = view.reader.load_many(Incident, [daemon.incident_id for daemon in daemons if daemon.incident_id])
    found.sort(key=lambda incident: (incident.opened_at, incident.id), reverse=True)
    return [incident_json(incident) for incident in found if not incident.recovered_at]
