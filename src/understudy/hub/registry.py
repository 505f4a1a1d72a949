"""Daemons as old clients register and beat, and what owners set for them: pause, resume, settings, forget."""

from __future__ import annotations

import msgspec
from msgspec.structs import replace

from understudy.coordinator import directives, health, leases, tasks, windows
from understudy.coordinator.changes import Change, Decision, Draft
from understudy.coordinator.nouns import LEASED, Daemon, Now, Task
from understudy.errors import BadRequestError, NotFoundError
from understudy.hub.enqueue import instant
from understudy.hub.life import alive, incident_of, need_incident, refuse_beyond_bound
from understudy.hub.operation import Operation
from understudy.hub.working_set import Needs, WorkingSet
from understudy.wire.answers.base import DONE
from understudy.wire.answers.daemons import DaemonChanged, Registered, SettingsChanged, settings_json
from understudy.wire.daemons import OldHeartbeatBody, RegisterBody, SettingsBody
from understudy.wire.limits import CAPABILITIES_MAX, TAG_CHARS_MAX

NOT_REGISTERED = "Daemon not registered"
UNKNOWN = "Daemon not found"


class Register(Operation):
    """`POST /api/daemon/register`: from now on it is watched."""

    def __init__(self, body: RegisterBody) -> None:
        self.body = body
        self.registered_at = instant(body.registered_at, "registeredAt")

    def needs(self, needs: Needs) -> None:
        """The daemon, if it is known."""
        needs.row(Daemon, self.body.daemon_id)

    def more(self, work: WorkingSet, needs: Needs) -> None:
        """The incident that this sign of life may close."""
        need_incident(work, needs, self.body.daemon_id)
        needs.daemon_count = needs.daemon_count or work.get(Daemon, self.body.daemon_id) is None

    def decide(self, work: WorkingSet, now: Now) -> Decision:
        """Write it down; a machine-bound daemon is not brought to life by a request without its machine."""
        body = self.body
        known = work.get(Daemon, body.daemon_id)
        refuse_beyond_bound(work, known)
        daemon = known or Daemon(body.daemon_id, first_seen_at=now.wall, since_at=now.wall)
        capabilities = [tag[:TAG_CHARS_MAX] for tag in body.capabilities[:CAPABILITIES_MAX]]
        daemon = replace(
            daemon,
            version=body.version,
            capabilities=msgspec.json.encode(capabilities).decode(),
            poll_interval_ms=body.poll_interval,
            registered_at=now.wall,
            registered_as=body.registered_at,
        )
        answer = Registered(success=True, daemon_id=daemon.id, registered_at=body.registered_at)
        event = health.health_event(
            daemon, now, "daemon.registered", "info", f"Daemon {daemon.id} registered", version=body.version
        )
        if daemon.machine_id:
            return Decision(answer, (daemon,), (event,))
        seen = alive(work, daemon, now, "healthy", "")
        return Decision(answer, seen.rows, (event, *seen.events))


class OldHeartbeat(Operation):
    """`POST /api/daemon/heartbeat`: only for daemons that registered."""

    def __init__(self, body: OldHeartbeatBody) -> None:
        self.body = body
        instant(body.last_heartbeat, "lastHeartbeat")

    def needs(self, needs: Needs) -> None:
        """The daemon."""
        needs.row(Daemon, self.body.daemon_id)

    def more(self, work: WorkingSet, needs: Needs) -> None:
        """The incident that this beat may close."""
        need_incident(work, needs, self.body.daemon_id)

    def decide(self, work: WorkingSet, now: Now) -> Decision:
        """healthy and degraded are healthy (with the reason), unhealthy is stuck (docs/contract.md, section 2)."""
        body = self.body
        daemon = work.get(Daemon, body.daemon_id)
        if daemon is None or not daemon.registered_at:
            raise NotFoundError(NOT_REGISTERED)
        daemon = replace(
            daemon,
            said_status=body.status,
            tasks_processed=body.tasks_processed,
            current_task=body.current_task or "",
            last_heartbeat=body.last_heartbeat,
        )
        if daemon.machine_id:
            return Decision(DONE, (daemon,))
        said, reason = {"healthy": ("healthy", ""), "degraded": ("healthy", "degraded")}.get(
            body.status, ("stuck", "the daemon says that it is unhealthy")
        )
        seen = alive(work, daemon, now, said, reason)
        return Decision(DONE, seen.rows, seen.events)


def known_daemon(work: WorkingSet, daemon_id: str) -> Daemon:
    """The daemon; NotFoundError if there is none."""
    daemon = work.get(Daemon, daemon_id)
    if daemon is None:
        raise NotFoundError(UNKNOWN)
    return daemon


class OwnerOperation(Operation):
    """What an owner does with one known daemon."""

    def __init__(self, daemon_id: str) -> None:
        self.daemon_id = daemon_id

    def needs(self, needs: Needs) -> None:
        """The daemon."""
        needs.row(Daemon, self.daemon_id)

    def more(self, work: WorkingSet, needs: Needs) -> None:
        """Its open incident."""
        need_incident(work, needs, self.daemon_id)

    def known(self, work: WorkingSet) -> Daemon:
        """The daemon; NotFoundError if there is none."""
        return known_daemon(work, self.daemon_id)


class Pause(OwnerOperation):
    """Given no work, its silence not judged, for so long or (0) until resumed; or judged again, from now."""

    def __init__(self, daemon_id: str, *, paused: bool, for_ms: int = 0) -> None:
        super().__init__(daemon_id)
        self.paused = paused
        self.for_ms = for_ms

    def decide(self, work: WorkingSet, now: Now) -> Decision:
        """Doing it twice changes nothing the second time."""
        daemon = self.known(work)
        answer = DaemonChanged(success=True, daemon_id=daemon.id)
        if not self.paused and health.is_planned(daemon):
            return Decision(answer, (health.plan_ended(daemon, now, work.policy).noun,))
        if bool(daemon.paused) == self.paused:
            return Decision(answer, self._paused_anew(daemon, now))
        asked = replace(daemon, paused=int(self.paused))
        after = health.set_state(asked, "paused" if self.paused else "healthy", now, work.policy, self.for_ms)
        rows = after.rows
        incident = incident_of(work, daemon)
        if incident is not None:
            rows = (*rows, health.closed(incident, daemon, now))
        return Decision(answer, rows, after.events)

    def _paused_anew(self, daemon: Daemon, now: Now) -> tuple[Daemon, ...]:
        """A pause that goes on gets the end that is asked for now."""
        if not self.paused or not (self.for_ms or daemon.deadline_h):
            return ()
        return (replace(daemon, deadline_h=now.h + self.for_ms if self.for_ms else 0),)


class Configure(OwnerOperation):
    """`PUT /api/daemons/{id}/settings`."""

    def __init__(self, daemon_id: str, body: SettingsBody) -> None:
        super().__init__(daemon_id)
        self.body = body
        late, down = body.late_after_sec, body.down_after_sec
        if late is not None and down is not None and down < late:
            raise BadRequestError("Validation failed", ("downAfterSec: Expected at least lateAfterSec",))
        for window in body.expected_sleep or ():
            if not windows.is_zone(window.tz):
                raise BadRequestError("Validation failed", (f"expectedSleep: no time zone {window.tz!r}",))
            if window.from_ == window.to:
                why = f"expectedSleep: {window.from_}-{window.to} covers no time; for a whole day write two windows"
                raise BadRequestError("Validation failed", (f"{why}, 00:00-12:00 and 12:00-00:00",))

    def decide(self, work: WorkingSet, now: Now) -> Decision:
        """Keep the settings and look at its health anew at once."""
        daemon, body = self.known(work), self.body
        sleep = [msgspec.to_builtins(window) for window in body.expected_sleep or ()]
        daemon = replace(
            daemon,
            late_after_ms=round((body.late_after_sec or 0) * 1000),
            down_after_ms=round((body.down_after_sec or 0) * 1000),
            expected_sleep=msgspec.json.encode(sleep).decode(),
            deadline_h=now.h if health.is_judged(daemon) or daemon.state == "asleep" else daemon.deadline_h,
        )
        answer = SettingsChanged(success=True, daemon_id=daemon.id, settings=settings_json(daemon))
        return Decision(answer, (daemon,))


class Forget(OwnerOperation):
    """`DELETE /api/daemons/{id}`: its id is free again; what it still holds goes back to the queue."""

    def needs(self, needs: Needs) -> None:
        """The daemon and its leases."""
        super().needs(needs)
        needs.held.add(self.daemon_id)
        needs.reserved_for.add(self.daemon_id)
        needs.directives.add(self.daemon_id)

    def decide(self, work: WorkingSet, now: Now) -> Decision:
        """Remove it; its history (incidents, periods, events) stays."""
        daemon = self.known(work)
        draft = Draft()
        event = health.health_event(daemon, now, "daemon.forgotten", "info", f"Daemon {daemon.id} forgotten")
        draft.add(events=(event,))
        for task_id in sorted({*work.held.get(daemon.id, ()), *work.reserved.get(daemon.id, ())}):
            for change in self._freed(work, work.get(Task, task_id), now):
                draft.take(change)
        for directive in work.open_directives(daemon.id):
            draft.take(directives.dropped(directive, now))
        incident = incident_of(work, daemon)
        if incident is not None:
            draft.add((health.closed(incident, daemon, now),))
        return draft.decision(DaemonChanged(success=True, daemon_id=daemon.id), ((Daemon, daemon.id),))

    def _freed(self, work: WorkingSet, task: Task | None, now: Now) -> list[Change[Task]]:
        """A lease ends; what would then wait for this daemon waits for nobody."""
        changes: list[Change[Task]] = []
        if task is not None and task.status == LEASED:
            changes.append(leases.lose(task, now, work.policy, "lost", "its daemon was forgotten"))
            task = changes[0].noun
        moved = tasks.move(task, now, "forgotten") if task is not None else None
        return [*changes, moved] if moved else changes
