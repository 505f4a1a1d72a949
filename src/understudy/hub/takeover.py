"""The state of takeover: opened and closed by the health of the daemons, with a message to waiting senders."""

from __future__ import annotations

from typing import Literal

from understudy.coordinator import takeover, takeover_look
from understudy.coordinator.changes import Decision, Draft
from understudy.coordinator.nouns import Now, Task
from understudy.coordinator.takeover_look import InLine
from understudy.coordinator.takeover_nouns import TakeoverState, TaskTakeover
from understudy.hub.calls import cut_calls, need_tasks_of_calls
from understudy.hub.operation import HEAVY, Operation
from understudy.hub.takeover_rows import STATE_ID, need_budgets, need_takeover, state_of, view_of
from understudy.hub.working_set import Needs, WorkingSet
from understudy.wire.answers.base import DONE

QUEUE_HEAD_MAX = 1000  # senders get it while their task is among the first so many


class CheckTakeover(Operation):
    """The regular look of takeover's loop. Writes nothing where nothing has changed."""

    weight = HEAVY

    def __init__(self, *, tells: bool = True) -> None:
        self.tells = tells  # a look at many tasks: not with every turn of the loop

    def needs(self, needs: Needs) -> None:
        """Daemons, calls, and the first tasks of the queue."""
        need_takeover(needs, queue_head=QUEUE_HEAD_MAX if self.tells else 0)

    def more(self, work: WorkingSet, needs: Needs) -> None:
        """The state of takeover for those tasks, and the tasks of calls that were cut."""
        need_budgets(work, needs)
        for task_id in work.queue_head:
            needs.row(TaskTakeover, task_id)
        need_tasks_of_calls(work, needs)

    def decide(self, work: WorkingSet, now: Now) -> Decision:
        """Settle what was cut, close the circuit whose time is over, open or shut, tell who must know."""
        draft, view = Draft(), view_of(work, now)
        lost = cut_calls(draft, work, view, [call for call in view.calls if now.h >= call.expires_h], now)
        queue_head = _queue_head(work, draft)
        return draft.decision(takeover_look.look(draft, view, queue_head, now, lost, tells=self.tells))


def _queue_head(work: WorkingSet, draft: Draft) -> list[InLine]:
    """The first tasks of the queue, with what was done for each, this very look included."""
    done = work.rows[TaskTakeover] | {row.task_id: row for row in draft.save if isinstance(row, TaskTakeover)}
    rows = ((place, work.get(Task, task_id)) for place, task_id in enumerate(work.queue_head, 1))
    return [InLine(place, task, done.get(task.id)) for place, task in rows if task is not None]


class RecordProbe(Operation):
    """The probe was answered: the hub's own network works."""

    def needs(self, needs: Needs) -> None:
        """The state of takeover."""
        needs.row(TakeoverState, STATE_ID)

    def decide(self, work: WorkingSet, now: Now) -> Decision:
        """Remember it."""
        return takeover.probed(state_of(work), now).decision(None)


class SwitchTakeover(Operation):
    """An owner's word: pause, or resume, which also closes the circuit."""

    def __init__(self, verb: Literal["pause", "resume"], by: str) -> None:
        self.verb = verb
        self.by = by

    def needs(self, needs: Needs) -> None:
        """The state of takeover."""
        needs.row(TakeoverState, STATE_ID)

    def decide(self, work: WorkingSet, now: Now) -> Decision:
        """Doing it twice changes nothing the second time."""
        change = takeover.switch(state_of(work), self.verb, self.by, now)
        return change.decision(DONE) if change is not None else Decision(DONE)
