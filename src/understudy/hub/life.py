"""Signs of life: a claim, renewal or result is as good as a heartbeat, for daemons that are watched."""

from __future__ import annotations

from msgspec.structs import replace

from understudy.coordinator import health
from understudy.coordinator.changes import Change, Draft
from understudy.coordinator.identity import watch_name
from understudy.coordinator.nouns import Daemon, Incident, Now
from understudy.errors import StoreFullError
from understudy.hub.bounds import DAEMONS_MAX
from understudy.hub.working_set import Needs, WorkingSet


def need_watched(needs: Needs, worker_id: str) -> None:
    """State that the daemon behind a worker's name is needed, if it is one that may be watched."""
    name = watch_name(worker_id)
    if name:
        needs.row(Daemon, name)


def need_incident(work: WorkingSet, needs: Needs, daemon_id: str) -> None:
    """State that a daemon's open incident is needed, so that a sign of life can close it."""
    daemon = work.get(Daemon, daemon_id)
    if daemon is not None and daemon.incident_id:
        needs.row(Incident, daemon.incident_id)


def refuse_beyond_bound(work: WorkingSet, known: Daemon | None) -> None:
    """StoreFullError for one more daemon than a hub knows at once; those that it knows are always heard."""
    if known is None and work.bounds.daemons >= DAEMONS_MAX:
        raise StoreFullError(f"This hub knows {DAEMONS_MAX} daemons: forget some", "too_many_daemons")


def touch(work: WorkingSet, worker_id: str, now: Now) -> Draft:
    """A draft that begins with a sign of life by a worker's name.

    Empty for daemons that are not watched, and for machine-bound ones: their beats name the machine.
    """
    draft = Draft()
    name = watch_name(worker_id)
    daemon = work.get(Daemon, name) if name else None
    if daemon is not None and not daemon.machine_id:
        said = daemon.state if daemon.state in ("stuck", "draining") else "healthy"
        draft.take(alive(work, daemon, now, said, daemon.reason if said == "stuck" else ""))
    return draft


def alive(work: WorkingSet, daemon: Daemon, now: Now, said: str, reason: str, **why: object) -> Change[Daemon]:
    """A daemon that is alive and says how it is; its incident ends."""
    return _with_incident(work, daemon, now, health.seen(daemon, now, work.policy, said, reason, **why))


def stopped_as_planned(work: WorkingSet, daemon: Daemon, now: Now, for_ms: int) -> Change[Daemon]:
    """A daemon with its last word before a stop that its owner announced."""
    return _with_incident(work, daemon, now, health.stopped_as_planned(daemon, now, work.policy, for_ms))


def _with_incident(work: WorkingSet, daemon: Daemon, now: Now, after: Change[Daemon]) -> Change[Daemon]:
    incident = work.get(Incident, daemon.incident_id) if daemon.incident_id else None
    if incident is None or after.noun.incident_id:
        return after
    ended = health.closed(incident, replace(after.noun, interval_ms=daemon.interval_ms), now)
    return replace(after, save=(*after.save, ended))
