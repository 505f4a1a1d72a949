"""The end of a call: its cost settled and its answer taken in one transaction, under the token of its lease."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec.structs import replace

from understudy.coordinator import budget, leases, takeover
from understudy.coordinator.changes import Decision, Event
from understudy.coordinator.nouns import LEASED, QUEUED, Now, Result, Task
from understudy.coordinator.takeover import EXECUTOR, Called, takeover_event
from understudy.coordinator.takeover_nouns import Reservation, TakeoverState, TaskTakeover
from understudy.errors import UnderstudyError
from understudy.hub.calls import TOO_DEAR_RESTS_MS, Job
from understudy.hub.operation import Operation
from understudy.hub.results import Report
from understudy.hub.scene import budgets_of, need_budgets, need_scene, state_of
from understudy.hub.working_set import Needs, WorkingSet
from understudy.money import usd
from understudy.wire.tasks import FailureBody, ResultBody

EVENT_TEXT_BYTES_MAX = 12_000


class _Answer(Report):
    """A result of the hub's own worker, labelled as such."""

    def __init__(self, task_id: str, body: ResultBody, cost_micro_usd: int) -> None:
        super().__init__(task_id, body)
        self.cost_micro_usd = cost_micro_usd

    def _row(self, task: Task, now: Now, body: ResultBody) -> Result:
        row = super()._row(task, now, body)
        return replace(row, executor=EXECUTOR, degraded=1, cost_micro_usd=self.cost_micro_usd)


class Settle(Operation):
    """What came of a call: its cost, the result under its token, and what it means for the next ones."""

    is_last_word = True

    def __init__(self, job: Job, called: Called, worker_id: str) -> None:
        self.job = job
        self.called = called
        self.worker_id = worker_id

    def needs(self, needs: Needs) -> None:
        """The call and the task."""
        need_scene(needs)
        needs.row(Reservation, self.job.call_id)
        self._report(0).needs(needs)
        needs.row(TaskTakeover, self.job.task_id)

    def more(self, work: WorkingSet, needs: Needs) -> None:
        """The budgets, and what a result needs."""
        need_budgets(work, needs)
        self._report(0).more(work, needs)

    def details(self, work: WorkingSet, needs: Needs) -> None:
        """What a result needs."""
        self._report(0).details(work, needs)

    def decide(self, work: WorkingSet, now: Now) -> Decision:
        """Once: the same call settled again changes nothing but what fencing lets through."""
        policy = work.policy.takeover
        call = work.get(Reservation, self.job.call_id)
        save: list[Any] = []
        events: list[Event] = []
        cost = 0
        done = work.get(TaskTakeover, self.job.task_id) or TaskTakeover(self.job.task_id)
        if call is not None and not call.settled_at:
            cost = budget.cost_of(call, self.called, policy)
            outcome = self.called.reason or self.called.kind
            spent = budget.spend(budgets_of(work, now), cost, 1, now, policy)
            after = takeover.after_call(state_of(work), self.called, call.id, now, policy)
            done = replace(done, spent_micro_usd=done.spent_micro_usd + cost)
            save += [budget.settled(call, cost, outcome, now), *(one.noun for one in spent), after]
            events += [event for one in spent for event in one.events]
            if self.called.kind == "stop" and not state_of(work).circuit:
                events.append(_circuit_opened(self.called, after, now))
        elif call is not None:
            cost = call.spent_micro_usd
        ended = self._ended(work, done, cost, now)
        return Decision(ended.answer, (*save, *ended.save), (*events, *ended.events), ended.delete)

    def _ended(self, work: WorkingSet, done: TaskTakeover, cost: int, now: Now) -> Decision:
        task = work.get(Task, self.job.task_id)
        if task is None:
            return Decision(save=(done,))
        if self.called.kind in ("again", "stop"):
            return self._put_back(work, task, self._tried(done, now), now)
        if self.job.token:
            return self._reported(work, task, replace(done, tries=0), cost, now)
        return self._meanwhile(task, replace(done, tries=0), cost, now)

    def _tried(self, done: TaskTakeover, now: Now) -> TaskTakeover:
        """One try more; after some the task rests, and its machine may have it first."""
        if self.called.kind == "stop":
            return done
        tries = done.tries + 1
        if tries < takeover.TRIES_MAX:
            return replace(done, tries=tries)
        return replace(done, tries=0, not_before_h=now.h + takeover.TASK_RESTS_MS)

    def _put_back(self, work: WorkingSet, task: Task, done: TaskTakeover, now: Now) -> Decision:
        if not self._holds(task):
            return Decision({"released": False}, (done,))
        change = leases.release(task, now, work.policy, self.called.reason or "takeover")
        return Decision({"released": True}, (done, *change.rows), change.events)

    def _holds(self, task: Task) -> bool:
        return bool(self.job.token) and task.token == self.job.token and task.status == LEASED

    def _reported(self, work: WorkingSet, task: Task, done: TaskTakeover, cost: int, now: Now) -> Decision:
        try:
            decided = self._report(cost).decide(work, now)
        except UnderstudyError as refusal:
            return Decision(refusal, (done,))
        is_applied = isinstance(decided.answer, dict) and "duplicate" not in decided.answer
        told = (_answered(task, self.called, cost, now),) if is_applied and self.called.kind == "answered" else ()
        return replace(decided, save=(done, *decided.save), events=(*decided.events, *told))

    def _meanwhile(self, task: Task, done: TaskTakeover, cost: int, now: Now) -> Decision:
        """A provisional answer; none if the machine is back at it, or the task has ended."""
        if self.called.kind == "failed":
            return Decision(save=(replace(done, not_before_h=now.h + TOO_DEAR_RESTS_MS),))
        if task.status != QUEUED:
            return Decision(save=(done,))
        answer = msgspec.json.encode(self.called.text).decode()
        event = _provisional(task, self.called, cost, now)
        return Decision(None, (replace(done, provisional=answer, provisional_at=now.wall),), (event,))

    def _report(self, cost: int) -> _Answer:
        called = self.called
        is_answer = called.kind == "answered"
        body = ResultBody(
            success=is_answer,
            worker_id=self.worker_id,
            token=self.job.token,
            output=called.text if is_answer else None,
            error=None if is_answer else called.said or called.reason,
            failure=None if is_answer else FailureBody(called.reason, final=True),
            usage=_usage(self.job.prompt.model, called, cost),
        )
        return _Answer(self.job.task_id, body, cost)


def _usage(model: str, called: Called, cost: int) -> dict[str, Any]:
    used = {"model": model, "inputTokens": called.tokens_in, "outputTokens": called.tokens_out, "costMicroUsd": cost}
    return used | ({"truncated": True} if called.is_truncated else {})


def _answered(task: Task, called: Called, cost: int, now: Now) -> Event:
    return takeover_event(
        now,
        "takeover.answered",
        f"Task {task.id} was answered by the hub",
        taskId=task.id,
        executor=EXECUTOR,
        degraded=True,
        costUsd=usd(cost),
        truncated=called.is_truncated or None,
    )


def _in_an_event(text: str) -> str:
    """As much of it as a message to its sender takes; the task's record has it all."""
    cut = text.encode()[:EVENT_TEXT_BYTES_MAX].decode(errors="ignore")
    return text if cut == text else f"{cut} …"


def _provisional(task: Task, called: Called, cost: int, now: Now) -> Event:
    return takeover_event(
        now,
        "takeover.interim",
        f"Task {task.id} has a provisional answer; it waits for its machine",
        taskId=task.id,
        executor=EXECUTOR,
        degraded=True,
        text=_in_an_event(called.text),
        costUsd=usd(cost),
        truncated=called.is_truncated or None,
    )


def _circuit_opened(called: Called, state: TakeoverState, now: Now) -> Event:
    return takeover_event(
        now,
        "takeover.circuit_open",
        f"Takeover stops: {called.reason}; tasks stay queued",
        "critical",
        reason=called.reason,
        said=called.said or None,
        untilAt=state.circuit_until_at or None,
    )
