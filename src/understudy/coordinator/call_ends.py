"""The end of a call: what it cost, and what becomes of its task if the answer is no result."""

from __future__ import annotations

import msgspec
from msgspec.structs import replace

from understudy.coordinator import budget, leases, takeover
from understudy.coordinator.calls import TOO_DEAR_RESTS_MS, TakeoverView
from understudy.coordinator.changes import Draft, Event
from understudy.coordinator.nouns import LEASED, QUEUED, Now, Policy, Result, Task
from understudy.coordinator.takeover import EXECUTOR, CallOutcome, takeover_event
from understudy.coordinator.takeover_nouns import Reservation, TakeoverState, TaskTakeover
from understudy.money import total, usd
from understudy.redact.cutting import beginning

EVENT_TEXT_BYTES_MAX = 12_000


def settle(
    draft: Draft, view: TakeoverView, call: Reservation | None, called: CallOutcome, done: TaskTakeover, now: Now
) -> tuple[TaskTakeover, int]:
    """Settle a call once, with its consequences for the next ones → what was done for its task, its cost.

    `call` is the row as it stands; None, or one that is settled, changes nothing.
    """
    if call is None or call.settled_at:
        return done, call.spent_micro_usd if call is not None else 0
    policy = view.policy.takeover
    cost = budget.cost_of(call, called, policy)
    draft.add((budget.settled(call, cost, called.reason or called.kind, now),))
    for change in budget.spend(view.budgets, cost, 1, now, policy):
        draft.take(change)
    after = takeover.after_call(view.state, called, call.id, now, policy, call.model)
    is_opened = called.kind == "stop" and after != view.state
    draft.add((after,), (_circuit_opened(called, after, now),) if is_opened else ())
    return replace(done, spent_micro_usd=total(done.spent_micro_usd, cost)), cost


def put_back(draft: Draft, task: Task, token: int, called: CallOutcome, now: Now, policy: Policy) -> bool:
    """After a call that may be made again: give the task back, if the call's lease still holds → whether it did."""
    is_held = bool(token) and task.token == token and task.status == LEASED
    if is_held:
        draft.take(leases.release(task, now, policy, called.reason or "takeover"))
    return is_held


def keep_interim_answer(draft: Draft, task: Task, done: TaskTakeover, called: CallOutcome, cost: int, now: Now) -> None:
    """Keep an interim answer, the first; none if the call failed, the machine is back at it, or the task has ended."""
    done = without_tries(done)
    if called.kind == "failed":
        draft.add((replace(done, not_before_h=now.h + TOO_DEAR_RESTS_MS),))
    elif task.status != QUEUED or done.interim_at:
        draft.add((done,))
    else:
        answer = msgspec.json.encode(called.text).decode()
        kept = replace(done, interim_answer=answer, interim_at=now.wall)
        draft.add((kept,), (_interim_event(task, called, cost, now),))


def labelled(result: Result, cost_micro_usd: int) -> Result:
    """A result of the hub's own worker, marked as such: its executor, degraded, its cost."""
    return replace(result, executor=EXECUTOR, degraded=1, cost_micro_usd=cost_micro_usd)


def with_try(done: TaskTakeover, called: CallOutcome, now: Now) -> TaskTakeover:
    """One try more, for a call that is settled now; after some the task rests, and its machine may have it first.

    A task that may be the cause of a refusal rests at once, and is behind all others from then on, as its TRIES_MAX
    tries say.
    """
    if called.kind == "stop" and not called.is_suspect:
        return done
    tries = done.tries + 1
    if tries < takeover.TRIES_MAX and not called.is_suspect:
        return replace(done, tries=tries)
    is_suspect = called.is_suspect or done.tries >= takeover.TRIES_MAX
    return replace(done, tries=takeover.TRIES_MAX if is_suspect else 0, not_before_h=now.h + takeover.TASK_RESTS_MS)


def without_tries(done: TaskTakeover) -> TaskTakeover:
    """A call was answered, well or not: failed tries are counted from 0 again."""
    return replace(done, tries=0)


def answered(task: Task, called: CallOutcome, cost: int, now: Now) -> Event:
    """The event of a task that the hub has answered for good."""
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
    return text if cut == text else f"{beginning(text, len(cut))} …"


def _interim_event(task: Task, called: CallOutcome, cost: int, now: Now) -> Event:
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


def _circuit_opened(called: CallOutcome, state: TakeoverState, now: Now) -> Event:
    return takeover_event(
        now,
        "takeover.circuit_open",
        f"Takeover stops: {called.reason}; tasks stay queued",
        "critical",
        reason=called.reason,
        said=called.said or None,
        untilAt=state.circuit_until_at or None,
    )
