"""Tasks that are given back untouched although this machine starts others: how often, until that is their failure.

What such a run shows is taken for a fault of its machine. It speaks against the task instead if the same program has
worked meanwhile: a check of it ended well before the next start, or another run succeeded. A task of which that is true
several times fails as any other; otherwise it would be started without end, before all others.
"""

from __future__ import annotations

from understudy.worker.executors import Executor, Outcome
from understudy.worker.executors.fault_words import DISPROVED
from understudy.worker.state import Run, WorkerState

AGAINST_MAX = 5
TASKS_MAX = 1_000


def may_give_back(state: WorkerState, run: Run, executor: Executor, outcome: Outcome) -> bool:
    """Count this end of a start → whether it may still be taken for a fault of this machine."""
    worked = state.worked.get(executor.name, 0)
    before = state.given_back.pop(run.task.id, None)
    against = 0
    if before is not None:
        has_worked = outcome.auth in DISPROVED or worked > before[1]
        against = before[0] + has_worked
    if against >= AGAINST_MAX:
        return False
    state.given_back[run.task.id] = (against, worked)
    if len(state.given_back) > TASKS_MAX:
        del state.given_back[next(iter(state.given_back))]
    return True
