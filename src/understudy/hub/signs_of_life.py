"""Signs of life: a claim, renewal or result is as good as a heartbeat, for daemons that are watched."""

from __future__ import annotations

from understudy.coordinator import daemons, health
from understudy.coordinator.changes import Draft
from understudy.coordinator.hearing import WRITE_EVERY_MS
from understudy.coordinator.identity import watch_name
from understudy.coordinator.nouns import Daemon, Incident, Now
from understudy.hub.bounds import DAEMONS_MAX
from understudy.hub.working_set import Needs, WorkingSet
from understudy.store.base import Transaction
from understudy.store.queries import SEEN_IN

DAEMON_BYTES = 32 << 10  # of a daemon's rows, at most


def need_room_for(work: WorkingSet, needs: Needs, daemon_id: str) -> None:
    """State what tells whether there is room for a daemon that is not known yet."""
    if work.get(Daemon, daemon_id) is None:
        needs.daemon_count = needs.room = True


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
    """StoreFullError for one more daemon than a hub knows at once or has room for; those it knows are always heard."""
    if known is None:
        work.bounds.take_daemon()
        work.bounds.take(DAEMON_BYTES)


def touch(work: WorkingSet, worker_id: str, now: Now) -> Draft:
    """A draft that begins with a sign of life by a worker's name.

    Empty for daemons that are not watched, and for machine-bound ones: their beats name the machine.
    """
    draft = Draft()
    name = watch_name(worker_id)
    daemon = work.get(Daemon, name) if name else None
    seen = health.touched(daemon, incident_of(work, daemon), now, work.policy) if daemon is not None else None
    if seen is not None:
        draft.take(seen)
    return draft


def date_back(tx: Transaction, work: WorkingSet, resumed_h: int) -> None:
    """Let no sign of life from before a gap count as one after it: its daemon would have no grace.

    Hearing time resumes where it was last written, which may be half a second before the last sign of life. A later
    instant is none: it is the end of an absence that was announced.
    """
    for found in tx.find(SEEN_IN, resumed_h, resumed_h + WRITE_EVERY_MS, limit=DAEMONS_MAX):
        daemon = work.rows[Daemon].get(found.id) or found
        work.apply(daemons.dated_back(daemon, resumed_h).decision(None))


def incident_of(work: WorkingSet, daemon: Daemon | None) -> Incident | None:
    """The open incident of a daemon."""
    return work.get(Incident, daemon.incident_id) if daemon is not None and daemon.incident_id else None
