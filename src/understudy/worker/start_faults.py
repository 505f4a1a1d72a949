"""Faults of a machine that cannot start a process: not the task's, so the task is given back untouched."""

from __future__ import annotations

import errno

from understudy.worker.effects import Failed, Plan

NO_PROCESSES = "no_processes"  # nor threads: the system counts both alike (setrlimit(2), RLIMIT_NPROC)
_WORDS = {
    errno.ENOENT: "missing",
    errno.ENOTDIR: "missing",
    errno.ENOSPC: "disk_full",
    errno.EDQUOT: "disk_full",
    errno.EMFILE: "no_descriptors",
    errno.ENFILE: "no_descriptors",
    errno.ENOMEM: "no_memory",
    errno.EAGAIN: NO_PROCESSES,
    errno.EACCES: "not_runnable",
    errno.ENOEXEC: "not_runnable",
    errno.EPERM: "not_runnable",
}
OTHER, NO_DIRECTORY = "cannot_start", "no_directory"
WORDS = frozenset({*_WORDS.values(), OTHER, NO_DIRECTORY})


def not_started(plan: Plan, error: OSError | ValueError) -> Failed:
    """The failure of a start; without a word of ours, the task cannot be started on any machine."""
    reason = f"{plan.argv[0]}: {error}"
    if not isinstance(error, OSError) or error.errno == errno.E2BIG:
        return Failed(reason)
    if plan.cwd is not None and error.filename == plan.cwd:
        return Failed(reason, NO_DIRECTORY)
    return Failed(reason, _WORDS.get(error.errno or 0, OTHER))
