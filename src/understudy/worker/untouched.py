"""Tasks that are given back untouched although this machine starts others: how often, until that is their failure.

What such a run shows is taken for a fault of its machine. It speaks against the task instead if the same program has
worked meanwhile: a check of it ended well before the next start, or another run succeeded. A task of which that is true
several times fails as any other; otherwise it would be started without end, before all others.
"""

from __future__ import annotations

from msgspec.structs import replace

from understudy.worker.executors import Outcome
from understudy.worker.executors.fault_words import DISPROVED

AGAINST_MAX = 5
TASKS_MAX = 1_000


class Untouched:
    """The tasks whose process had begun and that were given back all the same."""

    def __init__(self) -> None:
        self._worked: dict[str, int] = {}  # runs of each executor that succeeded
        self._tasks: dict[str, tuple[int, int]] = {}  # how often it spoke against the task, and `_worked` at that time

    def note_success(self, executor: str) -> None:
        """A run of this executor succeeded."""
        self._worked[executor] = self._worked.get(executor, 0) + 1

    def bounded(self, task_id: str, executor: str, outcome: Outcome) -> Outcome:
        """The outcome of a start that left the task untouched; beyond the bound the task's own failure."""
        if self.may_give_back(task_id, executor, outcome.auth):
            return outcome
        return replace(outcome, is_untouched=False, auth="")

    def may_give_back(self, task_id: str, executor: str, auth: str) -> bool:
        """Count this end of a start → whether it may still be taken for a fault of this machine."""
        worked = self._worked.get(executor, 0)
        before = self._tasks.pop(task_id, None)
        against = 0 if before is None else before[0] + (auth in DISPROVED or worked > before[1])
        self._tasks[task_id] = (against, worked)  # also beyond the bound: it holds for later attempts too
        if len(self._tasks) > TASKS_MAX:
            del self._tasks[next(iter(self._tasks))]
        return against < AGAINST_MAX
