"""Takeover's calls: which task is answered next, what its call may cost, the end of calls that nobody will settle."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from understudy.coordinator import budget, leases, takeover
from understudy.coordinator.changes import Draft, Event
from understudy.coordinator.leases import Grant
from understudy.coordinator.nouns import LEASED, QUEUED, Memory, Now, Policy, Task
from understudy.coordinator.prompts import Prompt, affordable
from understudy.coordinator.takeover import Opening, takeover_event
from understudy.coordinator.takeover_nouns import OFF, Budget, DaemonGroup, Reservation, TakeoverState, TaskTakeover
from understudy.coordinator.utc_calendar import MINUTE_MS
from understudy.money import total

TEXT: frozenset[str] = frozenset()  # the needs of a task that the hub may answer for good
LEASE_MARGIN_MS = 30_000  # beyond the time that a call may take: no renewals
TOO_DEAR_RESTS_MS = 3_600_000
LOOK_AGAIN_MS = 60_000
_REFUSED = {
    "too_dear": "its question alone may cost more than one task may",
    "no_question": "its question is empty",
}


class TakeoverView(Struct, frozen=True):
    """The state of takeover, as every rule about calls needs it."""

    policy: Policy
    state: TakeoverState
    budgets: Mapping[str, Budget]  # of this day and this month, by kind
    calls: tuple[Reservation, ...]  # not settled yet
    daemon_groups: tuple[DaemonGroup, ...]

    def opening(self, needs: frozenset[str], now: Now) -> Opening:
        """The opening of takeover for these needs."""
        return takeover.opening(self.daemon_groups, needs, now, self.policy, self.state)


class Answerable(Struct, frozen=True):
    """A task that the hub may answer: what was asked, what was said before, what was done for it."""

    task: Task
    done: TaskTakeover
    question: str = ""
    said: Sequence[Memory] = ()  # newest first


class Reserved(Struct, frozen=True):
    """A call that may be made, and the task that it is made for: leased, unless it is for an interim answer."""

    call: Reservation
    prompt: Prompt
    task: Task
    timeout_ms: int


class NoCall(Struct, frozen=True):
    """No call now: why, and when to try again."""

    reason: str = ""
    pause_ms: int = LOOK_AGAIN_MS


def needs_of(task: Task) -> frozenset[str]:
    """The tags that a task asks for."""
    return frozenset(msgspec.json.decode(task.needs))


def stopped(view: TakeoverView, now: Now) -> NoCall | None:
    """The reason why no call may be made now, for any task; None if one may."""
    policy, state = view.policy.takeover, view.state
    if reason := takeover.stopped_by(policy, state):
        return NoCall(reason)
    if now.h < state.resting_until_h:
        return NoCall("resting", state.resting_until_h - now.h)
    if len(view.calls) >= policy.calls_at_once:
        return NoCall("busy")
    if state.minute == now.wall // MINUTE_MS and state.minute_calls >= policy.calls_a_minute:
        return NoCall("pace", MINUTE_MS - now.wall % MINUTE_MS)
    return None


def is_wanted(view: TakeoverView, task: Task, done: TaskTakeover, now: Now) -> bool:
    """True if a call may be made for this task now: its source, state, needs and earlier tries allow it."""
    policy = view.policy.takeover
    mode = takeover.mode_of(policy, task.source)
    is_interim = takeover.is_for_machine(task.needs)
    if task.status != QUEUED or task.takeover != "allow" or mode == OFF or now.h < done.not_before_h:
        return False
    if is_interim and (mode != "interim" or done.interim_at):
        return False
    if not is_interim and not task.ready:
        return False
    if any(call.task_id == task.id for call in view.calls):
        return False
    found = view.opening(needs_of(task) if is_interim else TEXT, now)
    return takeover.is_open(found, view.state, now, policy)


def reserve(
    draft: Draft, view: TakeoverView, candidates: Iterable[Answerable], call_id: str, worker_id: str, now: Now
) -> Reserved | NoCall:
    """Reserve a call for the first candidate that may be answered and that the budget can bear.

    Suspects come last, however long they have rested: until one is answered it may be what the service refuses.
    """
    if no_call := stopped(view, now):
        return no_call
    policy = view.policy.takeover
    none_left, short_of = NoCall("no_task"), ""
    for wish in sorted(candidates, key=lambda wish: wish.done.tries >= takeover.TRIES_MAX):
        if not is_wanted(view, wish.task, wish.done, now):
            continue
        found = _affordable(view, wish)
        if isinstance(found, str):
            draft.add((replace(wish.done, not_before_h=now.h + TOO_DEAR_RESTS_MS),), (_refused(wish.task, found, now),))
            none_left = NoCall("no_task", 0)  # there may be more behind those that step aside
            continue
        prompt, worst = found
        short = budget.lacking(view.budgets, budget.reserved(view.calls), worst, policy)
        if short and not budget.lacking(view.budgets, 0, worst, policy):
            return NoCall("busy")  # what the open calls do not spend is there again once they have ended
        if short:  # a cheaper one may be behind it
            short_of = short_of or short
            continue
        draft.add((_paced(view.state, now),))
        timeout_ms = min(policy.timeout_ms, wish.task.timeout_ms)
        lasts_ms = timeout_ms + LEASE_MARGIN_MS
        task, token = wish.task, 0
        if not takeover.is_for_machine(task.needs):
            grant = Grant(worker_id, request_id=call_id, exactly_ms=lasts_ms)
            task = draft.take(leases.claim(task, grant, now, view.policy))
            token = task.token
        call = Reservation(call_id, task.id, token, worker_id, prompt.model, worst, now.h + lasts_ms, now.wall)
        draft.add((call,))
        return Reserved(call, prompt, task, timeout_ms)
    if short_of:
        draft.take(budget.exhausted(view.budgets[short_of], now, policy))
    return NoCall("budget") if short_of else none_left


def cut(
    draft: Draft,
    view: TakeoverView,
    calls: Iterable[Reservation],
    tasks: Mapping[str, Task],
    done: Mapping[str, TaskTakeover],
    now: Now,
) -> tuple[tuple[str, int], ...]:
    """Count these calls as spent to the last micro-USD; their leases are lost → (task, token) of each of those."""
    spent: dict[str, int] = {}
    lost: list[tuple[str, int]] = []
    for call in calls:
        spent[call.task_id] = spent.get(call.task_id, 0) + call.reserved_micro_usd
        draft.add((budget.settled(call, call.reserved_micro_usd, "cut", now),))
        task = tasks.get(call.task_id)
        if task is not None and call.token and task.token == call.token and task.status == LEASED:
            lost.append((call.task_id, call.token))
            draft.take(leases.lose(task, now, view.policy, "lost", "the hub's call was cut"))
    for task_id, micro_usd in spent.items():
        before = done.get(task_id) or TaskTakeover(task_id)
        draft.add((replace(before, spent_micro_usd=total(before.spent_micro_usd, micro_usd)),))
    if spent:
        for change in budget.spend(view.budgets, sum(spent.values()), len(spent), now, view.policy.takeover):
            draft.take(change)
    return tuple(lost)


def shut(draft: Draft, state: TakeoverState, now: Now) -> None:
    """Say that takeover, which was open, is switched off."""
    event = takeover_event(now, "takeover.closed", "Takeover is switched off", mode=OFF)
    draft.add((replace(state, is_open=0, since_at=now.wall),), (event,))


def _affordable(view: TakeoverView, wish: Answerable) -> tuple[Prompt, int] | str:
    """The request and its cost at worst, or the reason why none is made."""
    policy = view.policy.takeover
    model = takeover.model_for(policy, view.state)
    price = takeover.price_for(policy, model)
    if not wish.question.strip():
        return "no_question"
    found = price and affordable(
        wish.question,
        wish.said,
        model,
        policy.answer_tokens_max,
        price,
        policy.task_micro_usd - wish.done.spent_micro_usd,
        is_interim=takeover.is_for_machine(wish.task.needs),
    )
    return found or "too_dear"


def _paced(state: TakeoverState, now: Now) -> TakeoverState:
    minute = now.wall // MINUTE_MS
    return replace(state, minute=minute, minute_calls=1 + (state.minute_calls if state.minute == minute else 0))


def _refused(task: Task, reason: str, now: Now) -> Event:
    message = f"Task {task.id} is not answered: {_REFUSED[reason]}"
    return takeover_event(now, "takeover.refused", message, taskId=task.id, reason=reason)
