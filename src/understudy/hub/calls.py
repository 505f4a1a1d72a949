"""Calls of a model: the transaction that claims the task reserves the cost; a call that was cut off counts as spent."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec
from msgspec import Struct

from understudy.coordinator import calls, takeover
from understudy.coordinator.calls import Answerable, Reserved, TakeoverView
from understudy.coordinator.changes import Decision, Draft
from understudy.coordinator.nouns import Now, Task, TaskBody
from understudy.coordinator.prompts import CONTEXT_BYTES_MAX, MESSAGE_CHARS_MAX, Prompt
from understudy.coordinator.takeover_nouns import Reservation, TaskTakeover
from understudy.hub.operation import HEAVY, Operation
from understudy.hub.takeover_rows import (
    machine_candidates,
    need_budgets,
    need_takeover,
    open_calls,
    text_candidates,
    view_of,
)
from understudy.hub.working_set import Needs, WorkingSet
from understudy.store.queries import Part
from understudy.wire.answers.leases import LeaseJson, lease_json

CONTEXT_PART = Part(MESSAGE_CHARS_MAX, CONTEXT_BYTES_MAX)


class TakeoverCall(Struct, frozen=True):
    """One call to make, reserved and, if `token`, leased."""

    call_id: str
    task_id: str
    token: int
    prompt: Prompt
    timeout_ms: int
    lease: LeaseJson | None = None  # as a claim would have got it


class ReserveCall(Operation):
    """Take one task over, if policy, budget and pace allow it → `TakeoverCall` or `Nothing`."""

    weight = HEAVY

    def __init__(self, worker_id: str) -> None:
        self.worker_id = worker_id

    def needs(self, needs: Needs) -> None:
        """The state of takeover."""
        need_takeover(needs)

    def more(self, work: WorkingSet, needs: Needs) -> None:
        """The tasks that may be next."""
        need_budgets(work, needs)
        needs.add_takeover((text_candidates(work.policy.takeover), machine_candidates(work)))

    def details(self, work: WorkingSet, needs: Needs) -> None:
        """The questions, their conversations, and the state of takeover for them."""
        for task_id in _candidate_ids(work):
            needs.row(TaskBody, task_id)
            needs.row(TaskTakeover, task_id)
            task = work.get(Task, task_id)
            if task is not None and task.user_id:
                needs.memories[task.conversation] = CONTEXT_PART

    def decide(self, work: WorkingSet, now: Now) -> Decision:
        """The first candidate that may be answered and that the budget can bear."""
        draft, call_id = Draft(), work.ids.new("call")
        found = calls.reserve(draft, view_of(work, now), _candidates(work), call_id, self.worker_id, now)
        return draft.decision(_job(found, now) if isinstance(found, Reserved) else found)


def _candidate_ids(work: WorkingSet) -> list[str]:
    """First those that may be answered for good."""
    found = sorted(work.found.items(), key=lambda row: not row[0].text)
    return [task_id for _, task_ids in found for task_id in task_ids]


def _candidates(work: WorkingSet) -> Iterator[Answerable]:
    for task_id in _candidate_ids(work):
        task, body = work.get(Task, task_id), work.get(TaskBody, task_id)
        if task is None:
            continue
        question = str(msgspec.json.decode(body.spec).get("content", "")) if body is not None else ""
        said = work.memories.get(task.conversation, []) if task.user_id else []
        yield Answerable(task, work.get(TaskTakeover, task_id) or TaskTakeover(task_id), question, said)


def _job(made: Reserved, now: Now) -> TakeoverCall:
    call, lease = made.call, lease_json(made.task, now) if made.call.token else None
    return TakeoverCall(call.id, call.task_id, call.token, made.prompt, made.timeout_ms, lease)


class CutCalls(Operation):
    """Once at the start of a hub: what its earlier life called is spent, and its leases are free.

    `worker_id` is the hub's own: what others have called is theirs. Calls of a hub that does not come back end with
    their time (`CheckTakeover`).
    """

    weight = HEAVY

    def __init__(self, worker_id: str) -> None:
        self.worker_id = worker_id

    def needs(self, needs: Needs) -> None:
        """Open calls."""
        need_takeover(needs, daemons=False)

    def more(self, work: WorkingSet, needs: Needs) -> None:
        """Their tasks."""
        need_budgets(work, needs)
        need_tasks_of_calls(work, needs)

    def decide(self, work: WorkingSet, now: Now) -> Decision:
        """Settle and free; a hub that is switched off says that it is shut. The answer: the leases that were lost."""
        draft, view = Draft(), view_of(work, now)
        mine = [call for call in view.calls if call.worker_id == self.worker_id]
        lost = cut_calls(draft, work, view, mine, now)
        if view.state.is_open and not takeover.is_switched_on(work.policy.takeover):
            calls.shut(draft, view.state, now)
        return draft.decision(lost)


def need_tasks_of_calls(work: WorkingSet, needs: Needs) -> None:
    """State that the tasks of open calls are needed."""
    for call in open_calls(work):
        needs.row(Task, call.task_id)
        needs.row(TaskTakeover, call.task_id)


def cut_calls(
    draft: Draft, work: WorkingSet, view: TakeoverView, cut: Iterable[Reservation], now: Now
) -> tuple[tuple[str, int], ...]:
    """Count these calls as spent → the leases that were lost with them, as (task, token)."""
    ended = list(cut)
    tasks = {task.id: task for call in ended if (task := work.get(Task, call.task_id)) is not None}
    done = {row.task_id: row for call in ended if (row := work.get(TaskTakeover, call.task_id)) is not None}
    return calls.cut(draft, view, ended, tasks, done, now)
