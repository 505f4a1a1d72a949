"""The regular look at takeover: whether it is open, whether a call may be tried, and which senders get a message.

A sender whose task is kept gets one message, as long as the task is not answered: its position, since when no daemon is
there, and why the hub does not step in.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from msgspec import Struct
from msgspec.structs import replace

from understudy.clock import iso
from understudy.coordinator import budget, takeover
from understudy.coordinator.calls import TEXT, TakeoverView, needs_of
from understudy.coordinator.changes import Draft, Event
from understudy.coordinator.nouns import QUEUED, Now, Task
from understudy.coordinator.takeover import Opening, Reach, takeover_event
from understudy.coordinator.takeover_nouns import (
    ANSWER,
    INTERIM,
    NOTIFY,
    OFF,
    TakeoverPolicy,
    TakeoverState,
    TaskTakeover,
)

LOOK_EVERY_MS = 60_000
ALL_SPENT = 100


class InLine(Struct, frozen=True):
    """A task near the front of the queue, by its place in it."""

    place: int
    task: Task
    done: TaskTakeover | None = None


class Verdict(Struct, frozen=True):
    """The outcome of a look: whether a call may be tried, and when to look again."""

    is_open: bool = False
    may_call: bool = False
    wants_probe: bool = False
    pause_ms: int = LOOK_EVERY_MS
    reach: Reach = Reach()  # a task that becomes ready matters if all daemons that could do it are away
    lost: tuple[tuple[str, int], ...] = ()  # leases of calls that were cut


def look(
    draft: Draft,
    view: TakeoverView,
    queue_head: Sequence[InLine],
    now: Now,
    lost: tuple[tuple[str, int], ...] = (),
    *,
    tells: bool,
) -> Verdict:
    """Close the circuit whose time is over, open or shut takeover, and tell those who must know.

    `lost` are the leases of calls that were cut just before.
    """
    policy = view.policy.takeover
    state = takeover.circuit_after(view.state, now, policy)
    if view.state.circuit and not state.circuit:
        why = "over" if takeover.is_access_of(policy, view.state.access) else "changed"
        draft.add(events=(_circuit_closed(now, why),))
    found = view.opening(TEXT, now)
    is_open = takeover.is_open(found, state, now, policy) and takeover.is_switched_on(policy)
    if is_open != bool(state.is_open):
        state = replace(state, is_open=int(is_open), since_at=now.wall)
        draft.add(events=(_turned(policy, state, found, now),))
    if state != view.state:
        draft.add((state,))
    view = replace(view, state=state)
    waiting = [one for one in queue_head if one.task.status == QUEUED]
    if tells:
        _tell_kept(draft, view, waiting, now)
    wants_probe = takeover.wants_probe(state, now, policy) and _is_due(view, found, waiting, now)
    return replace(_verdict(view, now), wants_probe=wants_probe, lost=lost)


def why_kept(view: TakeoverView, task: Task) -> str:
    """The reason why a task is not answered, as a stable word; "" if it is, or if its sender gets no message."""
    policy = view.policy.takeover
    mode = takeover.mode_of(policy, task.source)
    if mode == OFF or task.takeover != "allow":
        return ""
    if mode == NOTIFY:
        return NOTIFY
    if takeover.lacks(policy):  # without a key it is off: nothing pretends to be a model
        return ""
    if mode == ANSWER and takeover.is_for_machine(task.needs):
        return "machine"
    if stopped := takeover.stopped_by(policy, view.state):
        return stopped
    return "budget" if any(budget.reported(row, policy) >= ALL_SPENT for row in view.budgets.values()) else ""


def _tell_kept(draft: Draft, view: TakeoverView, waiting: Iterable[InLine], now: Now) -> None:
    openings: dict[str, Opening] = {}
    for one in waiting:
        task = one.task
        why = "" if one.done is not None and one.done.kept_at else why_kept(view, task)
        if not why:
            continue
        if task.needs not in openings:
            openings[task.needs] = view.opening(needs_of(task), now)
        found = openings[task.needs]
        if takeover.is_open(found, view.state, now, view.policy.takeover):
            kept = replace(one.done or TaskTakeover(task.id), kept_at=now.wall)
            draft.add((kept,), (_kept_event(task, one.place, why, found, now),))


def _is_due(view: TakeoverView, found: Opening, waiting: Iterable[InLine], now: Now) -> bool:
    """True if the hub may have to step in for anybody: for tasks without needs, or for one that waits."""
    by_needs = {one.task.needs: one.task for one in waiting}
    openings = (found, *(view.opening(needs_of(task), now) for task in by_needs.values()))
    return any(opening.at is not None and opening.at <= now.wall for opening in openings)


def _verdict(view: TakeoverView, now: Now) -> Verdict:
    state, policy = view.state, view.policy.takeover
    waits = [LOOK_EVERY_MS]
    if away_at := takeover.next_away_at(view.daemon_groups, now, view.policy, state):
        waits.append(away_at - now.wall)
    if state.resting_until_h > now.h:
        waits.append(state.resting_until_h - now.h)
    if state.circuit_until_at > now.wall:
        waits.append(state.circuit_until_at - now.wall)
    is_open = bool(state.is_open)
    may_rest = takeover.stopped_by(policy, state) or now.h < state.resting_until_h
    may_call = not may_rest and (is_open or INTERIM in takeover.modes(policy))
    reach = takeover.reach(view.daemon_groups, now, view.policy, state)
    return Verdict(is_open, may_call=may_call, pause_ms=min(waits), reach=reach)


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
