"""Changes of daemons: reports of legacy clients, and an owner's commands: pause, resume, settings, forget."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct
from msgspec.structs import asdict, replace

from understudy.coordinator import directives, health, leases, tasks
from understudy.coordinator.changes import Change, Draft
from understudy.coordinator.health import health_event
from understudy.coordinator.nouns import LEASED, Daemon, Directive, Incident, Now, Policy, Task

_UNHEALTHY = ("stuck", "the daemon says that it is unhealthy")
_SAID = {"healthy": ("healthy", ""), "degraded": ("healthy", "degraded")}


class Introduced(Struct, frozen=True):
    """A legacy client's registration of a daemon; its fields are those of the daemon."""

    version: str
    capabilities: str
    poll_interval_ms: int
    registered_as: str


class OldBeat(Struct, frozen=True):
    """A legacy client's heartbeat of a daemon; its fields are those of the daemon."""

    said_status: str
    tasks_processed: int = 0
    current_task: str = ""
    last_heartbeat: str = ""


def register(daemon: Daemon, said: Introduced, incident: Incident | None, now: Now, policy: Policy) -> Change[Daemon]:
    """An old client introduces a daemon: a sign of life, unless it is bound to a machine, which this does not name."""
    message = f"Daemon {daemon.id} registered"
    event = health_event(daemon, now, "daemon.registered", "info", message, version=said.version)
    known = replace(daemon, registered_at=now.wall, **asdict(said))
    if daemon.machine_id:
        return Change(known, (), (event,))
    seen = health.with_incident(health.seen(known, now, policy), known, incident, now)
    return replace(seen, events=(event, *seen.events))


def old_beat(daemon: Daemon, said: OldBeat, incident: Incident | None, now: Now, policy: Policy) -> Change[Daemon]:
    """healthy and degraded are healthy (with the reason), anything else is stuck (docs/contract.md, section 2)."""
    daemon = replace(daemon, **asdict(said))
    if daemon.machine_id:
        return Change(daemon)
    seen = health.seen(daemon, now, policy, *_SAID.get(daemon.said_status, _UNHEALTHY))
    return health.with_incident(seen, daemon, incident, now)


def pause(daemon: Daemon, incident: Incident | None, now: Now, policy: Policy, for_ms: int) -> Change[Daemon] | None:
    """No work, and its silence not judged, for this time or (0) until resumed; None if nothing changes."""
    if daemon.paused:
        ends = replace(daemon, deadline_h=now.h + for_ms if for_ms else 0)
        return Change(ends) if ends != daemon else None
    if health.is_planned(daemon) and daemon.deadline_h:
        daemon = health.within_pause(daemon, daemon.deadline_h)
    return _steered(replace(daemon, paused=1), "paused", incident, now, policy, for_ms)


def resume(daemon: Daemon, incident: Incident | None, now: Now, policy: Policy) -> Change[Daemon] | None:
    """Judged again, from now, also after a planned stop; None if nothing changes."""
    if health.is_planned(daemon):
        return health.plan_ended(daemon, now, policy)
    if not daemon.paused:
        return None
    resumed = replace(daemon, paused=0, reason="", last_seen_h=min(daemon.last_seen_h, now.h))
    return _steered(resumed, "healthy", incident, now, policy)


def configure(daemon: Daemon, late_after_ms: int, down_after_ms: int, expected_sleep: str, now: Now) -> Change[Daemon]:
    """Keep the settings and look at its health anew at once; `expected_sleep` is JSON, 0 the hub's default."""
    is_due = health.is_judged(daemon) or daemon.state == "asleep"
    kept = replace(daemon, late_after_ms=late_after_ms, down_after_ms=down_after_ms, expected_sleep=expected_sleep)
    return Change(replace(kept, deadline_h=now.h) if is_due else kept)


def forget(
    daemon: Daemon,
    incident: Incident | None,
    its_tasks: Iterable[Task],
    its_directives: Iterable[Directive],
    now: Now,
    policy: Policy,
) -> Draft:
    """Free what it holds and what waits for it; its history (incidents, periods, events) stays."""
    draft = Draft()
    closes = incident.id if incident is not None else None
    message = f"Daemon {daemon.id} forgotten"
    draft.add(events=(health_event(daemon, now, "daemon.forgotten", "info", message, closedIncidentId=closes),))
    for task in its_tasks:
        after = task
        if task.status == LEASED:
            after = draft.take(leases.lose(task, now, policy, "lost", "its daemon was forgotten"))
        moved = tasks.move(after, now, "forgotten")
        if moved is not None:
            draft.take(moved)
    for directive in its_directives:
        draft.take(directives.dropped(directive, now))
    if incident is not None:
        draft.add((health.closed(incident, daemon, now),))
    return draft


def _steered(
    daemon: Daemon, state: str, incident: Incident | None, now: Now, policy: Policy, for_ms: int = 0
) -> Change[Daemon]:
    """An owner's word ends the incident too, which only a receiver that keeps it open hears (notices.py)."""
    after = health.set_state(daemon, state, now, policy, for_ms)
    if incident is None:
        return after
    events = (replace(event, fields=event.fields | {"closedIncidentId": incident.id}) for event in after.events)
    return replace(after, save=(*after.save, health.closed(incident, daemon, now)), events=tuple(events))


def dated_back(daemon: Daemon, resumed_h: int) -> Change[Daemon]:
    """A daemon that was last heard before the gap after which hearing time resumed at this instant."""
    return Change(replace(daemon, last_seen_h=resumed_h))
