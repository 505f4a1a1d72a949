"""Heartbeats: signs of life that renew the leases of what runs, in the same commit."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec.structs import replace

from understudy.clock import iso
from understudy.coordinator import identity, leases, liveness
from understudy.coordinator.changes import Change, Decision, Draft, Event
from understudy.coordinator.health import health_event, limits_of
from understudy.coordinator.identity import LEGACY, Arrival, watch_name
from understudy.coordinator.nouns import CANCELLED, LEASED, NAMED, Daemon, Directive, Now, Task
from understudy.errors import ConflictError
from understudy.hub.directives import directive_order, offer
from understudy.hub.leases import need_progress, progress_of
from understudy.hub.life import alive, need_incident, refuse_beyond_bound, stopped_as_planned
from understudy.hub.operation import Operation
from understudy.hub.working_set import Needs, WorkingSet
from understudy.wire.daemons import HeartbeatBody, RunningBody, cut_parts

STARTS_MAX = 5  # within an hour, before it is told
HOUR_MS = 3_600_000
SAID = {"draining": "draining", "paused": "paused", "stopping": "stopped"}
_REFUSED = {
    "id_taken": "This id belongs to another machine: choose another --id, or forget the daemon",
    "superseded": "A newer start of this daemon has taken its place",
}


class Heartbeat(Operation):
    """`POST /api/queue/heartbeat`, old and new."""

    def __init__(self, body: HeartbeatBody) -> None:
        self.body = body = replace(body, loops=cut_parts(body.loops), auth=cut_parts(body.auth))
        self.daemon_id = body.daemon_id or watch_name(body.worker_id or "") or LEGACY
        self.running = {run.task_id: run for run in body.running or ()}

    def needs(self, needs: Needs) -> None:
        """The daemon, its boots, its leases, and every task that it names."""
        needs.row(Daemon, self.daemon_id)
        if self.body.boot_id:
            needs.boots.add(self.daemon_id)
            needs.held.add(self.daemon_id)
        for task_id, run in self.running.items():
            needs.row(Task, task_id)
            need_progress(needs, task_id, run)

    def more(self, work: WorkingSet, needs: Needs) -> None:
        """The incident that this beat may close, and the directives that wait for it."""
        need_incident(work, needs, self.daemon_id)
        daemon = work.get(Daemon, self.daemon_id)
        needs.daemon_count = needs.daemon_count or daemon is None
        if daemon is not None and daemon.open_directives and self.body.boot_id:
            needs.directives.add(self.daemon_id)

    def decide(self, work: WorkingSet, now: Now) -> Decision:
        """Judge who beats, settle what its boot and its `running` say, renew, answer."""
        known = work.get(Daemon, self.daemon_id)
        refuse_beyond_bound(work, known)
        daemon = known or Daemon(self.daemon_id, first_seen_at=now.wall, since_at=now.wall)
        arrival = self._arrival(work, daemon, now)
        if arrival.refused:
            refusal = ConflictError(_REFUSED[arrival.refused], arrival.refused)
            return Decision(refusal, events=arrival.events)
        draft = Draft()
        draft.add(arrival.save, (*arrival.events, *_recorded(daemon, now), *self._started(known, arrival, now)))
        ends = self._ends(work, daemon, now, is_new_boot=arrival.is_new_boot) if arrival.is_sign_of_life else {}
        renewed, lost, cancelled = self._renewals(work, now, ends)
        if not arrival.is_sign_of_life or (not arrival.is_new_boot and self._is_overtaken(daemon)):
            renewed = []
        for change in (*ends.values(), *renewed):
            draft.take(change)
        for run in self.running.values():
            task = work.get(Task, run.task_id)
            if task is not None and task.token == run.token and arrival.is_sign_of_life:
                draft.add(progress_of(work, task, run, now, is_strict=False))
        offered: list[Directive] = []
        if arrival.is_sign_of_life:
            draft.add(events=self._logins(daemon, now))
            daemon = self._described(daemon, arrival, now)
            daemon = draft.pass_on(self._stretched(work, daemon, now))
            heard = offer(work, daemon, self.body, now)
            daemon, offered = draft.pass_on(heard.change), heard.offered
            daemon = draft.pass_on(self._restless(daemon, arrival, now))
            draft.take(self._alive(work, daemon, now, comes_back=heard.comes_back))
        answer = self._answer(work, daemon, [c.noun for c in renewed], lost, cancelled, now)
        if self.body.daemon_id is not None:
            answer["directives"] = [directive_order(directive, now) for directive in offered]
        return draft.decision(answer)

    def _alive(self, work: WorkingSet, daemon: Daemon, now: Now, *, comes_back: bool) -> Change[Daemon]:
        """It is as it says, unless what it says of its parts shows that it is stuck."""
        body, state = self.body, SAID.get(self.body.state or "", "healthy")
        if state == "stopped" and body.planned_for_sec is not None:
            return stopped_as_planned(work, daemon, now, round(body.planned_for_sec * 1000))
        if state == "stopped" and comes_back:
            state = "healthy"
        if state == "healthy" and (body.loops or body.auth or body.running):
            running = [(run.task_id, run.idle_sec, run.idle_limit_sec) for run in body.running or ()]
            trouble = liveness.trouble_of(body.loops or {}, liveness.auth_of(daemon, body.auth), running)
            if trouble is not None:
                why = {"code": trouble.code, "what": trouble.what, "mend": trouble.mend or None}
                return alive(work, daemon, now, "stuck", trouble.reason, **why)
        return alive(work, daemon, now, state, "")

    def _logins(self, daemon: Daemon, now: Now) -> tuple[Event, ...]:
        """A word about each login that is not as it was."""
        auth = self.body.auth
        return liveness.auth_told(daemon, auth, now) if auth and _json(auth) != daemon.auth else ()

    def _restless(self, daemon: Daemon, arrival: Arrival, now: Now) -> Change[Daemon]:
        """A word, at most once an hour, about a daemon that is started again and again."""
        starts = self.body.starts_last_hour or 0
        if not arrival.is_new_boot or starts <= STARTS_MAX or now.wall - daemon.restarting_at < HOUR_MS:
            return Change(daemon)
        message = f"Daemon {daemon.id} was started {starts} times within an hour"
        event = health_event(daemon, now, "daemon.restarting", "warning", message, startsLastHour=starts)
        return Change(replace(daemon, restarting_at=now.wall), (), (event,))

    def _started(self, known: Daemon | None, arrival: Arrival, now: Now) -> tuple[Event, ...]:
        """A word about a daemon that was never seen before, or was started anew."""
        daemon = known or Daemon(self.daemon_id)
        if known is None:
            message = f"Daemon {daemon.id} seen for the first time"
            return (health_event(daemon, now, "daemon.registered", "info", message, version=self.body.version),)
        if arrival.is_new_boot:
            message = f"Daemon {daemon.id} was started anew"
            return (health_event(daemon, now, "daemon.started", "info", message, bootId=self.body.boot_id),)
        return ()

    def _arrival(self, work: WorkingSet, daemon: Daemon, now: Now) -> Arrival:
        old_boots = frozenset(work.boots.get(self.daemon_id, ()))
        return identity.arrive(daemon, self.body.machine_id or "", self.body.boot_id or "", old_boots, now)

    def _is_overtaken(self, daemon: Daemon) -> bool:
        """Whether a later beat of this boot was heard before: this one is a sign of life, and nothing else."""
        return self.body.seq is not None and bool(self.body.boot_id) and self.body.seq <= daemon.seq

    def _ends(self, work: WorkingSet, daemon: Daemon, now: Now, *, is_new_boot: bool) -> dict[str, Change[Task]]:
        """Leases that this beat ends: those of an older boot, and those it once named and names no more."""
        body, ends = self.body, {}
        if not body.boot_id:
            return {}
        is_newer = body.seq is not None and body.seq > (0 if is_new_boot else daemon.seq)
        for task_id in sorted(work.held.get(self.daemon_id, ())):
            task = work.get(Task, task_id)
            if task is None or task.status != LEASED or task.daemon_id != self.daemon_id or not task.boot_id:
                continue
            named = self.running.get(task_id)
            if named is not None and named.token == task.token:
                continue
            if task.boot_id != body.boot_id:
                ends[task_id] = leases.lose(task, now, work.policy, "lost", "its daemon was started anew")
            elif is_newer and body.running is not None and (task.is_named & NAMED or body.state == "stopping"):
                ends[task_id] = leases.lose(task, now, work.policy, "lost", "its daemon runs it no more")
        return ends

    def _renewals(
        self, work: WorkingSet, now: Now, ends: dict[str, Change[Task]]
    ) -> tuple[list[Change[Task]], list[str], list[str]]:
        renewed, lost, cancelled = [], [], []
        for task_id, run in self.running.items():
            task = work.get(Task, task_id)
            if task is None or task.token != run.token or task_id in ends:
                lost.append(task_id)
            elif task.status == CANCELLED:
                cancelled.append(task_id)
            else:
                change = leases.renew(task, now)
                if change is None:
                    lost.append(task_id)
                else:
                    renewed.append(change)
        return renewed, lost, cancelled

    def _described(self, daemon: Daemon, arrival: Arrival, now: Now) -> Daemon:
        """The daemon with everything that the beat says about it."""
        body = self.body
        daemon = identity.bound(daemon, body.machine_id or "", body.boot_id or "", is_new_boot=arrival.is_new_boot)
        if body.boot_id and not daemon.boot_id:
            daemon = replace(daemon, boot_id=body.boot_id)
        said: dict[str, Any] = {"last_heartbeat": iso(now.wall)}
        if body.seq is not None:
            said["seq"] = max(body.seq, daemon.seq)
        if body.interval_sec is not None:
            said["interval_ms"] = round(body.interval_sec * 1000)
        if body.running is not None:
            said["running"] = _json([_run_json(run) for run in body.running])
        for name in ("version", "capacity"):
            value = getattr(body, name)
            if value is not None:
                said[name] = value
        for name in ("provides", "loops", "auth"):
            value = getattr(body, name)
            if value is not None:
                said[name] = _json(value)
        said["slept_ms"] = round((body.slept_sec or 0) * 1000)
        return replace(daemon, **said)

    def _stretched(self, work: WorkingSet, daemon: Daemon, now: Now) -> Change[Daemon]:
        """A daemon that announces an interval too long for its limits is judged by longer ones; said once."""
        if daemon.interval_ms == daemon.interval_told:
            return Change(daemon)
        limits = limits_of(daemon, work.policy)
        plain = daemon.late_after_ms or work.policy.late_after_ms
        if limits.late_ms == plain:
            return Change(daemon)
        message = (
            f"Daemon {daemon.id} beats every {daemon.interval_ms / 1000:g} s: "
            f"it is late after {limits.late_ms / 1000:g} s, not {plain / 1000:g} s"
        )
        event = health_event(daemon, now, "daemon.stretched", "warning", message, lateAfterSec=limits.late_ms / 1000)
        return Change(replace(daemon, interval_told=daemon.interval_ms), (), (event,))

    def _answer(
        self, work: WorkingSet, daemon: Daemon, renewed: list[Task], lost: list[str], cancelled: list[str], now: Now
    ) -> dict[str, Any]:
        answer: dict[str, Any] = {"success": True, "timestamp": now.wall}
        if self.body.daemon_id is None:
            return answer
        interval_ms = daemon.interval_ms or work.policy.heartbeat_interval_ms
        if self.running:
            shortest = min((task.duration_ms for task in renewed), default=work.policy.lease_ms)
            interval_ms = min(interval_ms, shortest // 3)
        return answer | {
            "nextInSec": interval_ms / 1000,
            "lost": lost,
            "cancel": cancelled,
        }


def _recorded(daemon: Daemon, now: Now) -> tuple[Event, Event]:
    """The two lines that operators search for; too frequent to keep."""
    fields = {"daemonId": daemon.id}
    said = ("debug", "heartbeat.recorded")
    return (
        Event(now.wall, *said, "Queue API", "Heartbeat recorded", fields, live_only=True),
        Event(now.wall, *said, "TaskCoordinator", "Heartbeat recorded", fields, live_only=True),
    )


def _run_json(run: RunningBody) -> dict[str, Any]:
    said: dict[str, Any] = {"taskId": run.task_id, "token": run.token}
    if run.progress_at:
        said["progressAt"] = run.progress_at
    if run.idle_limit_sec:
        said |= {"idleSec": run.idle_sec, "idleLimitSec": run.idle_limit_sec}
    return said


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()
