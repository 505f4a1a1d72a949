"""Home as people see it: the overview as rows, bounded so that the page stays readable."""

from __future__ import annotations

from collections import defaultdict

import msgspec
from msgspec import Raw, Struct

from understudy.coordinator.health import down_deadline, is_judged, late_deadline, limits_of
from understudy.coordinator.hearing import at_wall
from understudy.coordinator.nouns import Daemon, Incident, Period, Task, TaskBody
from understudy.hub.overview import RUNS_MAX, runs_of
from understudy.hub.periods import DAY_MS, Timelines, stretches
from understudy.hub.views import View
from understudy.store.queries import AILING, HELD_BY
from understudy.wire.answers.daemons import DaemonJson
from understudy.wire.answers.events import IncidentJson, incident_json
from understudy.wire.answers.overview import RunOverview

STEP_MS = 300_000  # a bar moves on by so much at a time
DAEMONS_SHOWN = 1_000
AT_A_GLANCE = 12  # so many are seen at once: they keep their places; of more the worst come first
BODIES_READ_MAX = 100
BODY_BYTES_MAX = 16 << 10
TITLE_CHARS_MAX = 120
STATES = ("down", "stuck", "late", "healthy", "draining", "new", "asleep", "paused", "stopped")  # as Home lists them


class RunShown(Struct, frozen=True):
    """A task that a daemon works on."""

    run: RunOverview
    title: str  # the beginning of its content; "" where that was not read
    said: str  # its progress in a few words; "" for none


class DaemonShown(Struct, frozen=True):
    """A daemon as a row of Home."""

    daemon: DaemonJson
    bar: list[Period]
    runs: list[RunShown]
    incident: IncidentJson | None


class DaemonsShown(Struct, frozen=True):
    """All of them, by name where they are few, else the worst first."""

    rows: list[DaemonShown]
    more: int  # that are not shown
    since: int
    until: int


def daemons_shown(view: View) -> DaemonsShown:
    """Every daemon with its last day; at most 1,000."""
    until = -(-view.now.wall // STEP_MS) * STEP_MS
    since = until - DAY_MS
    known, chosen = sum(view.reader.daemon_states().values()), _chosen(view)
    timelines = Timelines(view, since)
    running = _running(view, [daemon.id for daemon in chosen])
    incidents = _open_incidents(view, chosen)
    rows = [
        DaemonShown(
            view.daemon_as(daemon, DaemonJson),
            stretches(timelines.of(daemon), since, until),
            running[daemon.id],
            incidents.get(daemon.incident_id),
        )
        for daemon in chosen
    ]
    return DaemonsShown(rows, max(known - len(chosen), 0), since, until)


def _chosen(view: View) -> list[Daemon]:
    """All of them, or where they are too many: those that are worst, then the first ones by name."""
    first = view.reader.load_all(Daemon, DAEMONS_SHOWN)
    if len(first) <= AT_A_GLANCE:
        return first
    if len(first) == DAEMONS_SHOWN:
        ailing = (daemon for query in AILING for daemon in view.reader.find(query, limit=DAEMONS_SHOWN))
        first = [*{daemon.id: daemon for daemon in (*ailing, *first)}.values()]
    rank = {state: place for place, state in enumerate(STATES)}
    return sorted(first, key=lambda daemon: (rank[daemon.state], daemon.id))[:DAEMONS_SHOWN]


def _open_incidents(view: View, daemons: list[Daemon]) -> dict[str, IncidentJson]:
    """Those of these daemons by id."""
    found = view.reader.load_many(Incident, [daemon.incident_id for daemon in daemons if daemon.incident_id])
    return {incident.id: incident_json(incident) for incident in found if not incident.recovered_at}


def _running(view: View, daemon_ids: list[str]) -> dict[str, list[RunShown]]:
    """The tasks that these hold, the longest held first."""
    tasks = view.reader.find(HELD_BY, daemon_ids, limit=RUNS_MAX)
    found = runs_of(view, sorted(tasks, key=lambda task: (task.claimed_at, task.id)))
    titles = titles_of(view, [run.task_id for run in found])
    by_daemon: dict[str, list[RunShown]] = defaultdict(list)
    for run in found:
        by_daemon[run.daemon_id or ""].append(RunShown(run, titles.get(run.task_id, ""), progress_said(run.progress)))
    return by_daemon


def titles_of(view: View, task_ids: list[str]) -> dict[str, str]:
    """The beginning of what each of these asks, by id; of few and small ones, because a page wants to be quick."""
    tasks = view.reader.load_many(Task, task_ids[:BODIES_READ_MAX])
    wanted = [task.id for task in tasks if task.size_bytes <= BODY_BYTES_MAX]
    return {row.task_id: _title(row) for row in view.reader.load_many(TaskBody, wanted)}


def _title(body: TaskBody) -> str:
    spec = msgspec.json.decode(body.spec)
    content = spec.get("content", "") if isinstance(spec, dict) else ""
    return str(content)[:TITLE_CHARS_MAX]


def progress_said(progress: object) -> str:
    """The report of a run on its way, in a few words: a text, or the text or phase of a report."""
    found = msgspec.json.decode(progress) if isinstance(progress, Raw) else ""
    if isinstance(found, dict):
        found = found.get("text") or found.get("message") or found.get("phase") or ""
    return str(found)[:TITLE_CHARS_MAX]


def beats_shown(view: View) -> dict[str, list[int]]:
    """`beats_of` each daemon that Home shows, by its id."""
    return {daemon.id: beats_of(daemon, view) for daemon in _chosen(view)}


def beats_of(daemon: Daemon, view: View) -> list[int]:
    """The instants at which it was last heard, and would be late and down; ms since the epoch, 0 for never."""
    limits = limits_of(daemon, view.policy)
    deadlines = (late_deadline(daemon, limits, view.now), down_deadline(daemon, limits, view.now))
    heard = at_wall(view.now, daemon.last_seen_h) if daemon.last_seen_at else 0
    return [heard, *(at_wall(view.now, h) if is_judged(daemon) else 0 for h in deadlines)]
