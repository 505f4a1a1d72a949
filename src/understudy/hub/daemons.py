"""Daemons as old clients register and beat, and what owners set for them: pause, resume, settings, forget."""

from __future__ import annotations

import msgspec

from understudy.coordinator import daemons, daily_windows
from understudy.coordinator.changes import Decision
from understudy.coordinator.daemons import Introduced, OldBeat
from understudy.coordinator.nouns import Daemon, Now, Task
from understudy.errors import BadRequestError, ConflictError, NotFoundError
from understudy.hub.enqueue import instant
from understudy.hub.operation import HEAVY, Operation
from understudy.hub.signs_of_life import incident_of, need_incident, need_room_for, refuse_beyond_bound
from understudy.hub.working_set import RESERVED_MAX, Needs, WorkingSet
from understudy.wire.answers.base import DONE
from understudy.wire.answers.daemons import DaemonChanged, Registered, SettingsChanged, settings_json
from understudy.wire.daemons import LegacyHeartbeatBody, RegisterBody, SettingsBody
from understudy.wire.limits import CAPABILITIES_MAX, TAG_CHARS_MAX

NOT_REGISTERED = "Daemon not registered"
UNKNOWN = "Daemon not found"


class RegisterDaemon(Operation):
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
        need_room_for(work, needs, self.body.daemon_id)

    def decide(self, work: WorkingSet, now: Now) -> Decision:
        """Write it down; a machine-bound daemon is not brought to life by a request without its machine."""
        body = self.body
        known = work.get(Daemon, body.daemon_id)
        refuse_beyond_bound(work, known)
        daemon = known or Daemon(body.daemon_id, first_seen_at=now.wall, since_at=now.wall)
        capabilities = [tag[:TAG_CHARS_MAX] for tag in body.capabilities[:CAPABILITIES_MAX]]
        said = Introduced(
            version=body.version,
            capabilities=msgspec.json.encode(capabilities).decode(),
            poll_interval_ms=body.poll_interval,
            registered_as=body.registered_at,
        )
        answer = Registered(success=True, daemon_id=daemon.id, registered_at=body.registered_at)
        return daemons.register(daemon, said, incident_of(work, daemon), now, work.policy).decision(answer)


class RecordLegacyHeartbeat(Operation):
    """`POST /api/daemon/heartbeat`: only for daemons that registered."""

    def __init__(self, body: LegacyHeartbeatBody) -> None:
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
        said = OldBeat(
            said_status=body.status,
            tasks_processed=body.tasks_processed,
            current_task=body.current_task or "",
            last_heartbeat=body.last_heartbeat,
        )
        return daemons.old_beat(daemon, said, incident_of(work, daemon), now, work.policy).decision(DONE)


def known_daemon(work: WorkingSet, daemon_id: str) -> Daemon:
    """The daemon; NotFoundError if there is none."""
    daemon = work.get(Daemon, daemon_id)
    if daemon is None:
        raise NotFoundError(UNKNOWN)
    return daemon


class OwnerOperation(Operation):
    """An owner's command for one known daemon."""

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


class PauseDaemon(OwnerOperation):
    """Given no work, its silence not judged, for this time or (0) until resumed; or judged again, from now."""

    def __init__(self, daemon_id: str, *, paused: bool, for_ms: int = 0) -> None:
        super().__init__(daemon_id)
        self.paused = paused
        self.for_ms = for_ms

    def decide(self, work: WorkingSet, now: Now) -> Decision:
        """Doing it twice changes nothing the second time."""
        daemon = self.known(work)
        answer = DaemonChanged(success=True, daemon_id=daemon.id)
        incident = incident_of(work, daemon)
        if self.paused:
            change = daemons.pause(daemon, incident, now, work.policy, self.for_ms)
        else:
            change = daemons.resume(daemon, incident, now, work.policy)
        return change.decision(answer) if change is not None else Decision(answer)


class ConfigureDaemon(OwnerOperation):
    """`PUT /api/daemons/{id}/settings`."""

    def __init__(self, daemon_id: str, body: SettingsBody) -> None:
        super().__init__(daemon_id)
        self.body = body
        late, down = body.late_after_sec, body.down_after_sec
        if late is not None and down is not None and down < late:
            raise BadRequestError("Validation failed", ("downAfterSec: Expected at least lateAfterSec",))
        for window in body.expected_sleep or ():
            if not daily_windows.is_zone(window.tz):
                raise BadRequestError("Validation failed", (f"expectedSleep: no time zone {window.tz!r}",))
            if window.from_ == window.to:
                why = f"expectedSleep: {window.from_}-{window.to} covers no time; for a whole day write two windows"
                raise BadRequestError("Validation failed", (f"{why}, 00:00-12:00 and 12:00-00:00",))

    def decide(self, work: WorkingSet, now: Now) -> Decision:
        """Keep the settings and look at its health anew at once."""
        daemon, body = self.known(work), self.body
        sleep = [msgspec.to_builtins(window) for window in body.expected_sleep or ()]
        late_ms, down_ms = (round((limit or 0) * 1000) for limit in (body.late_after_sec, body.down_after_sec))
        change = daemons.configure(daemon, late_ms, down_ms, msgspec.json.encode(sleep).decode(), now)
        settings = settings_json(change.noun)
        return change.decision(SettingsChanged(success=True, daemon_id=daemon.id, settings=settings))


class ForgetDaemon(OwnerOperation):
    """`DELETE /api/daemons/{id}`: its id is free again; what it still holds goes back to the queue."""

    weight = HEAVY

    def needs(self, needs: Needs) -> None:
        """The daemon and its leases."""
        super().needs(needs)
        needs.held.add(self.daemon_id)
        needs.reserved_for.add(self.daemon_id)
        needs.directives.add(self.daemon_id)

    def decide(self, work: WorkingSet, now: Now) -> Decision:
        """Remove it; its history (incidents, periods, events) stays."""
        daemon = self.known(work)
        answer = DaemonChanged(success=True, daemon_id=daemon.id)
        if len(work.reserved.get(daemon.id, ())) > RESERVED_MAX:
            raise ConflictError(f"More than {RESERVED_MAX} tasks wait for it: move or cancel some", "too_many_waiting")
        task_ids = sorted({*work.held.get(daemon.id, ()), *work.reserved.get(daemon.id, ())})
        its_tasks = [task for task_id in task_ids if (task := work.get(Task, task_id)) is not None]
        open_ones = work.open_directives(daemon.id)
        draft = daemons.forget(daemon, incident_of(work, daemon), its_tasks, open_ones, now, work.policy)
        return draft.decision(answer, ((Daemon, daemon.id),))
