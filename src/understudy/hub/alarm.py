"""The alarm's part: whatever a deadline has come for, in the same four steps as every request."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from msgspec.structs import replace

from understudy.coordinator import directives, health, leases, takeover, tasks, windows
from understudy.coordinator.changes import Decision, Draft, Event, make_event
from understudy.coordinator.nouns import LEASED, Daemon, Directive, Hearing, Incident, Now, Task
from understudy.coordinator.takeover_nouns import TakeoverState
from understudy.hub.operation import Operation
from understudy.hub.scene import STATE_ID, state_of
from understudy.hub.unjudged import Judged, each, tell_once
from understudy.hub.working_set import Needs, WorkingSet

DUE_MAX = 500
SUSPECT_DAEMONS = 3
SUSPECT_AGAIN_MS = 600_000


class Ring(Operation):
    """Expire leases, wake delayed tasks, judge silence. The answer says whether there is more to do."""

    def needs(self, needs: Needs) -> None:
        """What is due, a bounded number of each kind."""
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
        draft = Draft()
        draft.add(events=(_rang(now),))
        looks: list[Callable[[], Judged]] = []
        due: list[Task | Daemon] = [*work.due.leases, *work.due.delayed, *work.due.daemons]
        looks += [partial(_expire, work, task, now) for task in work.due.leases]
        looks += [partial(_come_due, work, task, now) for task in work.due.delayed]
        looks += [partial(_look, work, daemon, now) for daemon in work.due.daemons]
        for row, look in zip(due, looks, strict=True):
            draft.add(*each(work, row, look, now))
        late = sum(event.name == "daemon.late" for event in draft.events)
        looked = {row.id: row for row in draft.save if isinstance(row, Daemon)}
        draft.add(*_suspect(work, late, now))
        for found in work.due.directives:
            draft.add(*each(work, found, partial(_end_directive, work, found, looked, now), now))
        found_due = (work.due.leases, work.due.delayed, work.due.daemons, work.due.directives)
        is_more = any(len(part) == DUE_MAX for part in found_due)
        return draft.decision(is_more)


def _expire(work: WorkingSet, found: Task, now: Now) -> Judged:
    task = work.get(Task, found.id)
    if task is None or task.status != LEASED or leases.is_held(task, now):
        return (), ()
    change = leases.expire(task, now, work.policy)
    return change.rows, change.events


def _come_due(work: WorkingSet, found: Task, now: Now) -> Judged:
    task = work.get(Task, found.id)
    due = tasks.come_due(task) if task is not None and task.available_at <= now.wall else None
    return (due.rows, ()) if due is not None else ((), ())


def _look(work: WorkingSet, known: Daemon, now: Now) -> Judged:
    """Its health; windows of sleep that cannot be read are left out, so that its silence is told all the same."""
    daemon = work.get(Daemon, known.id)
    if daemon is None:  # forgotten by an earlier request of this batch
        return (), ()
    if not daemon.deadline_h or now.h < daemon.deadline_h:
        return (daemon,), ()
    incident = work.get(Incident, daemon.incident_id) if daemon.incident_id else None
    looked = health.rung(daemon, incident, now, work.policy, work.ids.new("incident"))
    wrong = windows.unreadable(daemon.expected_sleep)
    told = tell_once(work, daemon, f"expectedSleep: {wrong}", now) if wrong else ()
    return looked.rows, (*(_with_takeover(event, work) for event in looked.events), *told)


class Rest(Operation):
    """If nothing is watched or leased, nobody needs to be heard from here on. The answer says whether it is so."""

    def needs(self, needs: Needs) -> None:
        """The nearest deadlines, as they are in this very transaction."""
        needs.deadlines = True

    def decide(self, work: WorkingSet, now: Now) -> Decision:
        """Stop counting until the next lease or watched daemon."""
        is_stirred = any(isinstance(row, Task | Daemon | Directive) for row in work.dirty.values())
        nearest = work.deadlines
        if is_stirred or nearest is None or nearest.lease_h or nearest.health_h or nearest.directive_h:
            return Decision(answer=False)
        hearing = work.get(Hearing, 1) or Hearing()
        return Decision(answer=True, save=(replace(hearing, idle=1, heard_at=now.wall),))


def _with_takeover(event: Event, work: WorkingSet) -> Event:
    """Whoever reads that a daemon is down also reads what is done for those who wait for it."""
    if event.name != "daemon.down":
        return event
    word = takeover.doing(work.policy.takeover, state_of(work))
    return replace(event, fields={**event.fields, "takeover": word})


def _rang(now: Now) -> Event:
    return Event(now.wall, "debug", "alarm.triggered", "TaskCoordinator", "Alarm triggered", {}, live_only=True)


def _end_directive(work: WorkingSet, found: Directive, looked: dict[str, Daemon], now: Now) -> Judged:
    """A directive whose time is over, and its daemon with one fewer; `looked` is how daemons stand now."""
    known = work.get(Directive, found.id)
    step = directives.rung(known, now) if known is not None else None
    if known is None or step is None or step.noun is known:
        return (), ()
    daemon = looked.get(known.daemon_id) or work.get(Daemon, known.daemon_id)
    if daemon is None:
        return (step.noun,), step.events
    looked[daemon.id] = replace(daemon, open_directives=max(daemon.open_directives - 1, 0))
    return (step.noun, looked[daemon.id]), step.events


def _suspect(work: WorkingSet, late: int, now: Now) -> Judged:
    """Three or more falling silent within 30 s: an additional word; it replaces none."""
    hearing = work.get(Hearing, 1) or Hearing()
    silent = work.recent_incidents + late
    if not late or silent < SUSPECT_DAEMONS or now.h - hearing.suspect_h < SUSPECT_AGAIN_MS:
        return (), ()
    message = f"{silent} daemons fell silent within 30 s: hub or network suspect"
    event = make_event(now, "hub.suspect", message, {"daemons": silent}, level="warning")
    return (replace(hearing, suspect_h=now.h),), (event,)
