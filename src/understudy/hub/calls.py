"""Calls of a model: each reserved in the transaction that claims its task; those that were cut are spent."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from understudy.coordinator import budget, leases, takeover
from understudy.coordinator.calendar import MINUTE_MS
from understudy.coordinator.changes import Decision, Event
from understudy.coordinator.leases import Grant
from understudy.coordinator.nouns import LEASED, QUEUED, Now, Task, TaskBody
from understudy.coordinator.prompts import Prompt, affordable
from understudy.coordinator.takeover import takeover_event
from understudy.coordinator.takeover_nouns import OFF, Budget, Reservation, TakeoverState, TaskTakeover
from understudy.hub.claims import lease_json
from understudy.hub.operation import Operation
from understudy.hub.scene import (
    TEXT,
    budgets_of,
    machine_candidates,
    need_budgets,
    need_scene,
    needs_of,
    open_calls,
    opening_for,
    state_of,
    text_candidates,
)
from understudy.hub.working_set import Needs, WorkingSet

LEASE_MARGIN_MS = 30_000  # beyond the time that a call may take: no renewals
TOO_DEAR_RESTS_MS = 3_600_000
LOOK_AGAIN_MS = 60_000


class Job(Struct, frozen=True):
    """One call to make, reserved and, if `token`, leased."""

    call_id: str
    task_id: str
    token: int
    prompt: Prompt
    timeout_ms: int
    lease: dict[str, Any] = {}  # as a claim would have been told of it


class Nothing(Struct, frozen=True):
    """No call now: why, and when to try again."""

    reason: str = ""
    pause_ms: int = LOOK_AGAIN_MS


class Reserve(Operation):
    """Take one task over, if policy, budget and pace allow it → `Job` or `Nothing`."""

    def __init__(self, worker_id: str) -> None:
        self.worker_id = worker_id

    def needs(self, needs: Needs) -> None:
        """How takeover stands."""
        need_scene(needs)

    def more(self, work: WorkingSet, needs: Needs) -> None:
        """The tasks that may be next."""
        need_budgets(work, needs)
        policy = work.policy.takeover
        needs.see((text_candidates(policy), machine_candidates(policy)))

    def details(self, work: WorkingSet, needs: Needs) -> None:
        """What was asked, what was said before, and what takeover has done for them."""
        for task_id in self._candidates(work):
            needs.row(TaskBody, task_id)
            needs.row(TaskTakeover, task_id)
            task = work.get(Task, task_id)
            if task is not None and task.user_id:
                needs.memories.add(task.conversation)

    @staticmethod
    def _candidates(work: WorkingSet) -> list[str]:
        policy = work.policy.takeover
        return [*work.found[text_candidates(policy)], *work.found[machine_candidates(policy)]]

    def decide(self, work: WorkingSet, now: Now) -> Decision:
        """The first candidate that may be answered and that the budget can bear."""
        stopped = self._stopped(work, now)
        if stopped is not None:
            return Decision(stopped)
        refused: list[Any] = []
        events: list[Event] = []
        for task_id in self._candidates(work):
            task = work.get(Task, task_id)
            done = work.get(TaskTakeover, task_id) or TaskTakeover(task_id)
            if task is None or not _is_wanted(work, task, done, now):
                continue
            found = self._affordable(work, task, done)
            if found is None:
                refused.append(replace(done, not_before_h=now.h + TOO_DEAR_RESTS_MS))
                events.append(_too_dear(task, now))
                continue
            prompt, worst = found
            budgets = budgets_of(work, now)
            short = budget.lacking(budgets, budget.reserved(open_calls(work)), worst, work.policy.takeover)
            if short:
                told = budget.exhausted(budgets[short], now, work.policy.takeover)
                return Decision(Nothing("budget"), (*refused, *told.rows), (*events, *told.events))
            return self._reserved(work, task, prompt, worst, now, (refused, events))
        return Decision(Nothing("no_task"), tuple(refused), tuple(events))

    @staticmethod
    def _stopped(work: WorkingSet, now: Now) -> Nothing | None:
        policy, state = work.policy.takeover, state_of(work)
        stopped = takeover.stopped_by(policy, state)
        if stopped:
            return Nothing(stopped)
        if now.h < state.resting_until_h:
            return Nothing("resting", state.resting_until_h - now.h)
        if len(open_calls(work)) >= policy.calls_at_once:
            return Nothing("busy")
        if state.minute == now.wall // MINUTE_MS and state.minute_calls >= policy.calls_a_minute:
            return Nothing("pace", MINUTE_MS - now.wall % MINUTE_MS)
        return None

    @staticmethod
    def _affordable(work: WorkingSet, task: Task, done: TaskTakeover) -> tuple[Prompt, int] | None:
        policy = work.policy.takeover
        model = takeover.model_for(policy, state_of(work))
        price = takeover.price_for(policy, model)
        body = work.get(TaskBody, task.id)
        question = str(msgspec.json.decode(body.spec).get("content", "")) if body is not None else ""
        if price is None or not question.strip():
            return None
        said = work.memories.get(task.conversation, []) if task.user_id else []
        return affordable(
            question,
            said,
            model,
            policy.answer_tokens_max,
            price,
            policy.task_micro_usd - done.spent_micro_usd,
            meanwhile=takeover.is_for_machine(task.needs),
        )

    def _reserved(
        self, work: WorkingSet, task: Task, prompt: Prompt, worst: int, now: Now, before: tuple[list[Any], list[Event]]
    ) -> Decision:
        policy = work.policy.takeover
        timeout_ms = min(policy.timeout_ms, task.timeout_ms)
        lasts_ms = timeout_ms + LEASE_MARGIN_MS
        call_id = work.ids.new("call")
        save, events = before
        token, lease = 0, {}
        if not takeover.is_for_machine(task.needs):
            grant = Grant(self.worker_id, request_id=call_id, exactly_ms=lasts_ms)
            change = leases.claim(task, grant, now, work.policy)
            save, events = [*save, *change.rows], [*events, *change.events]
            token, lease = change.noun.token, lease_json(change.noun, now)
        call = Reservation(call_id, task.id, token, self.worker_id, prompt.model, worst, now.h + lasts_ms, now.wall)
        job = Job(call_id, task.id, token, prompt, timeout_ms, lease)
        return Decision(job, (*save, call, _paced(state_of(work), now)), tuple(events))


def _is_wanted(work: WorkingSet, task: Task, done: TaskTakeover, now: Now) -> bool:
    """Whether this very task may be called for, as everything stands now."""
    policy = work.policy.takeover
    mode = takeover.mode_of(policy, task.source)
    is_meanwhile = takeover.is_for_machine(task.needs)
    if task.status != QUEUED or task.takeover != "allow" or mode == OFF or now.h < done.not_before_h:
        return False
    if is_meanwhile and (mode != "interim" or done.provisional_at):
        return False
    if not is_meanwhile and not task.ready:
        return False
    if any(call.task_id == task.id for call in open_calls(work)):
        return False
    found = opening_for(work, needs_of(task) if is_meanwhile else TEXT, now)
    return takeover.is_open(found, state_of(work), now, policy)


def _paced(state: TakeoverState, now: Now) -> TakeoverState:
    minute = now.wall // MINUTE_MS
    return replace(state, minute=minute, minute_calls=1 + (state.minute_calls if state.minute == minute else 0))


def _too_dear(task: Task, now: Now) -> Event:
    message = f"Task {task.id} is not answered: its question alone may cost more than one task may"
    return takeover_event(now, "takeover.refused", message, taskId=task.id, reason="too_dear")


# ---- calls that nobody will settle


class CutCalls(Operation):
    """Once at the start of a hub: what its earlier life called is spent, and its leases are free."""

    def __init__(self, worker_id: str) -> None:
        self.worker_id = worker_id

    def needs(self, needs: Needs) -> None:
        """Open calls."""
        need_scene(needs)

    def more(self, work: WorkingSet, needs: Needs) -> None:
        """Their tasks."""
        need_budgets(work, needs)
        need_tasks_of_calls(work, needs)

    def decide(self, work: WorkingSet, now: Now) -> Decision:
        """Settle and free; a hub that is switched off says that it is shut. The answer: the leases that were lost."""
        mine = [call for call in open_calls(work) if call.worker_id == self.worker_id]
        cut = cut_calls(work, mine, now)
        state = state_of(work)
        if not state.is_open or takeover.is_switched_on(work.policy.takeover):
            return cut
        shut = replace(state, is_open=0, since_at=now.wall)
        told = takeover_event(now, "takeover.closed", "Takeover is switched off", mode=OFF)
        return replace(cut, save=(*cut.save, shut), events=(*cut.events, told))


def need_tasks_of_calls(work: WorkingSet, needs: Needs) -> None:
    """State that the tasks of open calls are needed."""
    for call in open_calls(work):
        needs.row(Task, call.task_id)
        needs.row(TaskTakeover, call.task_id)


def cut_calls(work: WorkingSet, calls: Iterable[Reservation], now: Now) -> Decision:
    """These calls as spent to the last micro-USD; a lease that one was made under is lost.

    The answer names the lost ones: (task, token).
    """
    save: list[Any] = []
    events: list[Event] = []
    spent: dict[str, int] = {}
    lost: list[tuple[str, int]] = []
    for call in calls:
        spent[call.task_id] = spent.get(call.task_id, 0) + call.reserved_micro_usd
        save.append(budget.settled(call, call.reserved_micro_usd, "cut", now))
        task = work.get(Task, call.task_id)
        if task is not None and call.token and task.token == call.token and task.status == LEASED:
            lost.append((call.task_id, call.token))
            change = leases.lose(task, now, work.policy, "lost", "the hub's call was cut")
            save += change.rows
            events += change.events
    if not spent:
        return Decision(())
    for task_id, micro_usd in spent.items():
        done = work.get(TaskTakeover, task_id) or TaskTakeover(task_id)
        save.append(replace(done, spent_micro_usd=done.spent_micro_usd + micro_usd))
    budgets: dict[str, Budget] = budgets_of(work, now)
    for spending in budget.spend(budgets, sum(spent.values()), len(spent), now, work.policy.takeover):
        save += spending.rows
        events += spending.events
    return Decision(tuple(lost), tuple(save), tuple(events))
