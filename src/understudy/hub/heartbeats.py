"""Heartbeats: signs of life that renew the leases of what runs, in the same commit."""

from __future__ import annotations

from understudy.coordinator import beats
from understudy.coordinator.beats import Facts, Heard, ReceivedBeat
from understudy.coordinator.changes import Decision
from understudy.coordinator.identity import LEGACY, goes_on, watch_name
from understudy.coordinator.nouns import Daemon, Now, Progress, Task
from understudy.coordinator.renewals import NamedRun
from understudy.errors import ConflictError
from understudy.hub.leases import need_progress, texts_of
from understudy.hub.operation import Operation
from understudy.hub.signs_of_life import incident_of, need_incident, need_room_for, refuse_beyond_bound
from understudy.hub.working_set import Needs, WorkingSet
from understudy.wire.answers.daemons import HeartbeatAnswer, directive_offer
from understudy.wire.daemons import HeartbeatBody, RunningBody, cut_parts

_REFUSED = {
    "id_taken": "This id belongs to another machine: choose another --id, or forget the daemon",
    "superseded": "A newer start of this daemon has taken its place",
}


class RecordHeartbeat(Operation):
    """`POST /api/queue/heartbeat`, old and new."""

    runs_alone = False

    def __init__(self, body: HeartbeatBody) -> None:
        self.is_legacy = body.daemon_id is None
        self.beat = beat_of(body)
        self.weight = max(len(self.beat.runs or ()), 1)

    def needs(self, needs: Needs) -> None:
        """The daemon, its leases, and every task that it names."""
        beat = self.beat
        needs.row(Daemon, beat.daemon_id)
        if beat.boot_id:
            needs.held.add(beat.daemon_id)
        for run in beat.runs or ():
            needs.row(Task, run.task_id)
            need_progress(needs, run.task_id, run)

    def more(self, work: WorkingSet, needs: Needs) -> None:
        """The incident that this beat may close, the directives that wait for it, and earlier boots unless it goes on.

        A beat that goes on beside one of another boot finds them too: it needs what that one has asked for.
        """
        beat, daemon_id = self.beat, self.beat.daemon_id
        need_incident(work, needs, daemon_id)
        daemon = work.get(Daemon, daemon_id)
        need_room_for(work, needs, daemon_id)
        if beat.boot_id and (daemon is None or not goes_on(daemon, beat.machine_id, beat.boot_id)):
            needs.boots.add(daemon_id)
        if daemon is not None and daemon.open_directives and beat.boot_id:
            needs.directives.add(daemon_id)

    def decide(self, work: WorkingSet, now: Now) -> Decision:
        """Judge it by the rows as they stand, and answer."""
        facts = self._facts(work)
        refuse_beyond_bound(work, facts.known)
        heard = beats.judge(facts, self.beat, now, work.policy)
        if heard.refused:
            return heard.draft.decision(ConflictError(_REFUSED[heard.refused], heard.refused))
        return heard.draft.decision(self._answer(heard, now))

    def _facts(self, work: WorkingSet) -> Facts:
        daemon_id, runs = self.beat.daemon_id, self.beat.runs or ()
        daemon = work.get(Daemon, daemon_id)
        held = work.held.get(daemon_id)
        named = {run.task_id: task for run in runs if (task := work.get(Task, run.task_id)) is not None} if runs else {}
        progress = work.rows[Progress]
        return Facts(
            daemon,
            frozenset(work.boots.get(daemon_id, ())),
            tuple(task for task_id in sorted(held) if (task := work.get(Task, task_id)) is not None) if held else (),
            named,
            {task_id: row for task_id in named if (row := progress.get(task_id)) is not None} if named else {},
            tuple(work.open_directives(daemon_id)) if daemon_id in work.directives else None,
            incident_of(work, daemon),
        )

    def _answer(self, heard: Heard, now: Now) -> HeartbeatAnswer:
        if self.is_legacy:
            return HeartbeatAnswer(success=True, timestamp=now.wall)
        return HeartbeatAnswer(
            success=True,
            timestamp=now.wall,
            next_in_sec=heard.next_ms / 1000,
            lost=heard.lost,
            cancel=heard.cancelled,
            directives=[directive_offer(directive, now) for directive in heard.offered],
        )


def beat_of(body: HeartbeatBody) -> ReceivedBeat:
    """The content of a body, in the units and limits of the rules."""
    reports = {report.id: (report.state, report.detail or "") for report in body.directives or ()}
    return ReceivedBeat(
        body.daemon_id or watch_name(body.worker_id or "") or LEGACY,
        body.machine_id or "",
        body.boot_id or "",
        body.seq,
        _ms(body.interval_sec),
        body.version,
        body.capacity,
        body.provides,
        None if body.running is None else tuple(map(_run, body.running)),
        cut_parts(body.loops),
        cut_parts(body.auth),
        body.state or "",
        _ms(body.planned_for_sec),
        round((body.slept_sec or 0) * 1000),
        reports,
        body.starts_last_hour or 0,
    )


def _run(run: RunningBody) -> NamedRun:
    """A run as its beat names it; a checkpoint too large is left out, so that the beat counts all the same."""
    texts = texts_of(run) or (None, None)
    return NamedRun(run.task_id, run.token, run.progress_at or "", run.idle_sec, run.idle_limit_sec, *texts)


def _ms(seconds: float | None) -> int | None:
    return None if seconds is None else round(seconds * 1000)
