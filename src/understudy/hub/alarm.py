"""The operations of the alarm: they decide whatever is due, in the same four steps as every request."""

from __future__ import annotations

from functools import partial

from msgspec.structs import replace

from understudy.coordinator import daily_windows, directives, health, leases, starts, takeover, tasks
from understudy.coordinator import hearing as hearing_time
from understudy.coordinator.changes import Change, Decision, Draft
from understudy.coordinator.nouns import Daemon, Directive, Hearing, Incident, Now, Task
from understudy.coordinator.takeover_nouns import TakeoverState
from understudy.hub.operation import HEAVY, Operation
from understudy.hub.signs_of_life import incident_of
from understudy.hub.takeover_rows import STATE_ID, state_of
from understudy.hub.unjudged import each, tell_once
from understudy.hub.working_set import Needs, WorkingSet

DUE_MAX = 500


class RingAlarm(Operation):
    """Expire leases, wake delayed tasks, judge silence. The answer says whether there is more to do."""

    weight = HEAVY

    def needs(self, needs: Needs) -> None:
        """The rows that are due, a bounded number of each kind."""
        needs.due_limit = DUE_MAX

    def more(self, work: WorkingSet, needs: Needs) -> None:
        """The incidents of the daemons that are due."""
        for daemon in work.due.daemons:
            if daemon.incident_id:
                needs.row(Incident, daemon.incident_id)
        for directive in work.due.directives:
            needs.row(Daemon, directive.daemon_id)
        if work.due.daemons:
            needs.row(TakeoverState, STATE_ID)

    def decide(self, work: WorkingSet, now: Now) -> Decision:
        """Each is judged as it stands now: what was renewed in this very batch is not expired."""
        draft, due, now = Draft(), work.due, replace(now, h=work.silence_h)
        draft.add(events=(starts.rang(now),))
        for found in due.leases:
            each(draft, work, found, partial(_lease, work, found.id, now), now)
        for found in due.delayed:
            each(draft, work, found, partial(_delayed, work, found.id, now), now)
        for daemon in due.daemons:
            each(draft, work, daemon, partial(_daemon, work, daemon.id, now), now)
        self._suspect(draft, work, now)
        for directive in due.directives:
            each(draft, work, directive, partial(_directive, draft, work, directive.id, now), now)
        is_more = any(len(part) == DUE_MAX for part in (due.leases, due.delayed, due.daemons, due.directives))
        return draft.decision(is_more)

    @staticmethod
    def _suspect(draft: Draft, work: WorkingSet, now: Now) -> None:
        late = {event.daemon_id for event in draft.events if event.name == "daemon.late"}
        hearing = work.get(Hearing, 1) or Hearing()
        change = hearing_time.suspected(hearing, len(work.silent_lately | late), now) if late else None
        if change is not None:
            draft.take(change)


def _lease(work: WorkingSet, task_id: str, now: Now) -> Change[Task] | None:
    task = work.get(Task, task_id)
    return leases.rung(task, now, work.policy) if task is not None else None


def _delayed(work: WorkingSet, task_id: str, now: Now) -> Change[Task] | None:
    task = work.get(Task, task_id)
    return tasks.rung(task, now) if task is not None else None


def _daemon(work: WorkingSet, daemon_id: str, now: Now) -> Change[Daemon] | None:
    """Its health; windows of sleep that cannot be read are left out, so that its silence is still reported."""
    daemon = work.get(Daemon, daemon_id)
    if daemon is None or not daemon.deadline_h or now.h < daemon.deadline_h:
        return None  # forgotten or heard by an earlier request of this batch
    looked = health.rung(daemon, incident_of(work, daemon), now, work.policy, work.ids.new("incident"))
    wrong = daily_windows.unreadable(daemon.expected_sleep)
    unreadable = tell_once(work, daemon, f"expectedSleep: {wrong}", now) if wrong else ()
    events = [takeover.with_takeover(event, work.policy.takeover, state_of(work)) for event in looked.events]
    return Change(looked.noun, looked.save, (*events, *unreadable))


def _directive(draft: Draft, work: WorkingSet, directive_id: str, now: Now) -> Change[Directive] | None:
    """A directive whose time is over; its daemon is as this very look left it."""
    known = work.get(Directive, directive_id)
    if known is None:
        return None
    looked = (row for row in reversed(draft.save) if isinstance(row, Daemon) and row.id == known.daemon_id)
    return directives.lapsed(known, next(looked, None) or work.get(Daemon, known.daemon_id), now)


class GoIdle(Operation):
    """If nothing is watched or leased, nobody needs to be heard from here on. The answer says whether it is so."""

    def needs(self, needs: Needs) -> None:
        """The nearest deadlines, as they are in this very transaction."""
        needs.deadlines = True

    def decide(self, work: WorkingSet, now: Now) -> Decision:
        """Stop counting until the next lease or watched daemon."""
        is_stirred = any(work.changed(noun) for noun in (Task, Daemon, Directive))
        nearest = work.deadlines
        if is_stirred or nearest is None or nearest.lease_h or nearest.health_h or nearest.directive_h:
            return Decision(answer=False)
        hearing = work.get(Hearing, 1) or Hearing()
        return Decision(answer=True, save=(hearing_time.rest(hearing, now),))
