"""Faults of a machine that cannot start a process: not the task's, so the task is given back untouched."""

from __future__ import annotations

import errno

from understudy.worker.effects import Failed, Plan
from understudy.worker.executors.fault_words import BY_NUMBER, NO_DIRECTORY, OTHER


def not_started(plan: Plan, error: OSError | ValueError) -> Failed:
    """The failure of a start; without a word of ours, the task cannot be started on any machine."""
    reason = f"{plan.argv[0]}: {error}"
    if not isinstance(error, OSError) or error.errno == errno.E2BIG:
        return Failed(reason)
    if plan.cwd is not None and error.filename == plan.cwd:
        return Failed(reason, NO_DIRECTORY)
    return Failed(reason, BY_NUMBER.get(error.errno or 0, OTHER))
