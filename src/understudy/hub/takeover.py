"""How takeover stands: opened and shut by the health of the daemons, and told to those who wait for them."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from understudy.clock import iso
from understudy.coordinator import takeover
from understudy.coordinator.changes import Decision, Event
from understudy.coordinator.nouns import QUEUED, Now, Task
from understudy.coordinator.takeover import Opening, takeover_event
from understudy.coordinator.takeover_nouns import (
    ANSWER,
    INTERIM,
    NOTIFY,
    OFF,
    TakeoverPolicy,
    TakeoverState,
    TaskTakeover,
)
from understudy.hub.calls import cut_calls, need_tasks_of_calls
from understudy.hub.operation import Operation
from understudy.hub.scene import (
    STATE_ID,
    TEXT,
    budgets_of,
    need_budgets,
    need_scene,
    needs_of,
    open_calls,
    opening_for,
    state_of,
)
from understudy.hub.unjudged import said_of, tell_once
from understudy.hub.working_set import Needs, WorkingSet, tags_in
from understudy.wire.answers.base import DONE

FRONT_MAX = 1000  # senders are told while their task is among the first so many
LOOK_EVERY_MS = 60_000
ALL_SPENT = 100


class Verdict(Struct, frozen=True):
    """What a look found: whether a call may be worth trying, and when to look again."""

    is_open: bool = False
    may_call: bool = False
    wants_probe: bool = False
    pause_ms: int = LOOK_EVERY_MS
    lost: tuple[tuple[str, int], ...] = ()  # leases of calls that were cut


class Look(Operation):
    """The regular look of takeover's loop. Writes nothing where nothing has changed."""

    def __init__(self, *, tells: bool = True) -> None:
        self.tells = tells  # a look at many tasks: not with every turn of the loop

    def needs(self, needs: Needs) -> None:
        """Daemons, calls, and the first tasks of the queue."""
        need_scene(needs, front=FRONT_MAX if self.tells else 0)

    def more(self, work: WorkingSet, needs: Needs) -> None:
        """What has been done for those tasks, and the tasks of calls that were cut."""
        need_budgets(work, needs)
        for task_id in work.front:
            needs.row(TaskTakeover, task_id)
        need_tasks_of_calls(work, needs)

    def decide(self, work: WorkingSet, now: Now) -> Decision:
        """Settle what was cut, close the circuit whose time is over, open or shut, tell who must know."""
        policy, before = work.policy.takeover, state_of(work)
        cut = cut_calls(work, [call for call in open_calls(work) if now.h >= call.expires_h], now)
        state = takeover.circuit_after(before, now, policy)
        events = [*cut.events]
        if before.circuit and not state.circuit:
            events.append(_circuit_closed(now, "over" if before.access == policy.access else "changed"))
        found = opening_for(work, TEXT, now)
        is_open = takeover.is_open(found, state, now, policy) and takeover.is_switched_on(policy)
        if is_open != bool(state.is_open):
            state = replace(state, is_open=int(is_open), since_at=now.wall)
            events.append(_turned(policy, state, found, now))
        kept = self._kept(work, state, now) if self.tells else ([], [])
        saved = (state,) if state != before else ()
        wants_probe = takeover.wants_probe(state, now, policy) and _is_due(work, found, now)
        verdict = self._verdict(found, state, now, policy, is_open=is_open)
        verdict = replace(verdict, wants_probe=wants_probe, lost=cut.answer)
        return Decision(verdict, (*cut.save, *saved, *kept[0]), (*events, *kept[1]))

    @staticmethod
    def _verdict(found: Opening, state: TakeoverState, now: Now, policy: TakeoverPolicy, *, is_open: bool) -> Verdict:
        waits = [LOOK_EVERY_MS]
        if found.at is not None and found.at > now.wall:
            waits.append(found.at - now.wall)
        if state.resting_until_h > now.h:
            waits.append(state.resting_until_h - now.h)
        if state.circuit_until_at > now.wall:
            waits.append(state.circuit_until_at - now.wall)
        stopped = takeover.stopped_by(policy, state)
        return Verdict(
            is_open,
            may_call=not stopped and now.h >= state.resting_until_h and (is_open or INTERIM in takeover.modes(policy)),
            pause_ms=min(waits),
        )

    def _kept(self, work: WorkingSet, state: TakeoverState, now: Now) -> tuple[list[TaskTakeover], list[Event]]:
        """Senders are told once that their task is kept: its place, since when, and why nobody answers."""
        rows: list[TaskTakeover] = []
        events: list[Event] = []
        openings: dict[str, Opening] = {}
        for place, task_id in enumerate(work.front, 1):
            task, done = work.get(Task, task_id), work.rows[TaskTakeover].get(task_id)
            if task is None or task.status != QUEUED or (done is not None and done.kept_at):
                continue
            why = _why_kept(work, task, state, now)
            if not why:
                continue
            if task.needs not in openings:
                try:
                    openings[task.needs] = opening_for(work, needs_of(task), now)
                except (ValueError, TypeError) as bug:  # one row that cannot be read must not stop takeover for all
                    events += tell_once(work, task, said_of(bug), now)
                    continue
            found = openings[task.needs]
            if not takeover.is_open(found, state, now, work.policy.takeover):
                continue
            rows.append(replace(done or TaskTakeover(task_id), kept_at=now.wall))
            events.append(_kept_event(task, place, why, found, now))
        return rows, events


def _is_due(work: WorkingSet, found: Opening, now: Now) -> bool:
    """Whether the hub may have to step in for anybody: for tasks without needs, or for one that waits."""
    waiting = (work.get(Task, task_id) for task_id in work.front)
    needs = {tags_in(task.needs) for task in waiting if task is not None and task.status == QUEUED}
    openings = (found, *(opening_for(work, frozenset(tags), now) for tags in needs))
    return any(opening.at is not None and opening.at <= now.wall for opening in openings)


def _why_kept(work: WorkingSet, task: Task, state: TakeoverState, now: Now) -> str:
    """Why this task is not answered, as a stable word; "" if it is, or if nobody may be told."""
    policy = work.policy.takeover
    mode = takeover.mode_of(policy, task.source)
    if mode == OFF or task.takeover != "allow":
        return ""
    if mode == NOTIFY:
        return NOTIFY
    if takeover.lacks(policy):  # without a key it is off: nothing pretends to be a model
        return ""
    if mode == ANSWER and takeover.is_for_machine(task.needs):
        return "machine"
    if stopped := takeover.stopped_by(policy, state):
        return stopped
    return "budget" if any(row.told >= ALL_SPENT for row in budgets_of(work, now).values()) else ""


def _kept_event(task: Task, place: int, why: str, found: Opening, now: Now) -> Event:
    return takeover_event(
        now,
        "takeover.kept",
        f"Task {task.id} is kept: number {place} in the queue",
        taskId=task.id,
        position=place,
        reason=why,
        daemonId=found.daemon_id,
        daemons=found.count,
        since=iso(found.last_seen_at),
        waitingFor=task.waiting_for or None,
    )


def _turned(policy: TakeoverPolicy, state: TakeoverState, found: Opening, now: Now) -> Event:
    if state.is_open:
        return takeover_event(
            now,
            "takeover.opened",
            "Takeover is open: no daemon is there",
            mode=policy.mode or OFF,
            sources=dict(policy.sources) or None,
            model=policy.model or None,
            daemons=found.count,
            since=iso(found.last_seen_at),
            stopped=takeover.stopped_by(policy, state) or None,
        )
    return takeover_event(now, "takeover.closed", "Takeover is closed: a daemon is back, or may be", mode=policy.mode)


def _circuit_closed(now: Now, why: str) -> Event:
    return takeover_event(now, "takeover.circuit_closed", "Takeover may call again", why=why)


class Probed(Operation):
    """The world answered: the hub's own line is not what is wrong."""

    def needs(self, needs: Needs) -> None:
        """How takeover stands."""
        needs.row(TakeoverState, STATE_ID)

    def decide(self, work: WorkingSet, now: Now) -> Decision:
        """Remember it."""
        return Decision(None, (replace(state_of(work), probed_h=now.h),))


class SteerTakeover(Operation):
    """An owner's word: pause, or resume, which also closes the circuit."""

    def __init__(self, verb: Literal["pause", "resume"], by: str) -> None:
        self.verb = verb
        self.by = by

    def needs(self, needs: Needs) -> None:
        """How takeover stands."""
        needs.row(TakeoverState, STATE_ID)

    def decide(self, work: WorkingSet, now: Now) -> Decision:
        """Doing it twice changes nothing the second time."""
        before = state_of(work)
        after = replace(before if self.verb == "pause" else takeover.closed(before), paused=int(self.verb == "pause"))
        if after == before:
            return Decision(DONE)
        name = {"pause": "takeover.paused", "resume": "takeover.resumed"}[self.verb]
        event = takeover_event(now, name, f"Takeover {name.partition('.')[2]}", by=self.by)
        return Decision(DONE, (after,), (event,))
