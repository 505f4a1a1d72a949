"""The end of a call: its cost settled and its answer taken in one transaction, under the token of its lease."""

from __future__ import annotations

from typing import Any

from understudy.coordinator import call_ends
from understudy.coordinator.changes import Decision, Draft
from understudy.coordinator.nouns import Now, Result, Task
from understudy.coordinator.takeover import CallOutcome
from understudy.coordinator.takeover_nouns import Reservation, TaskTakeover
from understudy.errors import UnderstudyError
from understudy.hub.calls import TakeoverCall
from understudy.hub.leases import NO_LEASE
from understudy.hub.operation import Operation
from understudy.hub.results import ReportResult
from understudy.hub.takeover_rows import need_budgets, need_takeover, view_of
from understudy.hub.working_set import Needs, WorkingSet
from understudy.wire.answers.leases import Released
from understudy.wire.answers.results import Taken
from understudy.wire.tasks import FailureBody, ResultBody


class _Answer(ReportResult):
    """A result of the hub's own worker, labelled as such."""

    def __init__(self, task_id: str, body: ResultBody, cost_micro_usd: int) -> None:
        super().__init__(task_id, body)
        self.cost_micro_usd = cost_micro_usd

    def _row(self, task: Task, now: Now, body: ResultBody) -> Result:
        return call_ends.labelled(super()._row(task, now, body), self.cost_micro_usd)


class SettleCall(Operation):
    """The end of a call: its cost, the result under its token, and its effect on the next calls."""

    is_last_word = True

    def __init__(self, job: TakeoverCall, called: CallOutcome, worker_id: str) -> None:
        self.job = job
        self.called = called
        self.worker_id = worker_id

    def needs(self, needs: Needs) -> None:
        """The call and the task."""
        need_takeover(needs, daemons=False)
        needs.row(Reservation, self.job.call_id)
        self._report(0).needs(needs)
        needs.row(TaskTakeover, self.job.task_id)

    def more(self, work: WorkingSet, needs: Needs) -> None:
        """The budgets, and what a result needs."""
        need_budgets(work, needs)
        self._report(0).more(work, needs)

    def details(self, work: WorkingSet, needs: Needs) -> None:
        """The needs of a result."""
        self._report(0).details(work, needs)

    def decide(self, work: WorkingSet, now: Now) -> Decision:
        """Once: the same call settled again changes nothing but what fencing lets through."""
        draft, task_id = Draft(), self.job.task_id
        call, task = work.get(Reservation, self.job.call_id), work.get(Task, task_id)
        done = work.get(TaskTakeover, task_id) or TaskTakeover(task_id)
        is_first = call is not None and not call.settled_at
        done, cost = call_ends.settle(draft, view_of(work, now), call, self.called, done, now)
        if task is None:
            draft.add((done,))
            return draft.decision(None)
        if self.called.kind in ("again", "stop"):
            if is_first:
                done = call_ends.with_try(done, self.called, now)
            draft.add((done,))
            is_released = call_ends.put_back(draft, task, self.job.token, self.called, now, work.policy)
            return draft.decision(Released(success=True) if is_released else NO_LEASE)
        if self.job.token:
            draft.add((call_ends.without_tries(done),))
            return self._reported(draft, work, task, cost, now)
        call_ends.keep_interim_answer(draft, task, done, self.called, cost, now)
        return draft.decision(None)

    def _reported(self, draft: Draft, work: WorkingSet, task: Task, cost: int, now: Now) -> Decision:
        try:
            decided = self._report(cost).decide(work, now)
        except UnderstudyError as refusal:
            return draft.decision(refusal)
        draft.add(decided.save, decided.events)
        is_applied = isinstance(decided.answer, Taken) and not decided.answer.duplicate
        if is_applied and self.called.kind == "answered":
            draft.add(events=(call_ends.answered(task, self.called, cost, now),))
        return draft.decision(decided.answer, decided.delete)

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


def _usage(model: str, called: CallOutcome, cost: int) -> dict[str, Any]:
    tokens, used = called.tokens, {"model": model, "costMicroUsd": cost}
    if called.billed == "tokens":
        used |= {"inputTokens": tokens.input, "outputTokens": tokens.output}
    if tokens.cache_read or tokens.cache_write:
        used |= {"cacheReadTokens": tokens.cache_read, "cacheWriteTokens": tokens.cache_write}
    return used | ({"truncated": True} if called.is_truncated else {})
