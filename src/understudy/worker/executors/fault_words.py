"""The words for faults of a machine that cannot start a process; they go into each beat as the executor's `auth`."""

from __future__ import annotations

import errno
import os

from understudy.worker.executors import Ended

NO_PROCESSES = "no_processes"  # nor threads: the system counts both alike (setrlimit(2), RLIMIT_NPROC)
BY_NUMBER = {
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
WORDS = frozenset({*BY_NUMBER.values(), OTHER, NO_DIRECTORY})
DISPROVED = frozenset({"missing", "not_runnable", OTHER})  # by a probe that ends well: the same program starts
_CODES = {126: "not_runnable", 127: "missing"}  # by which shells and `env` say that a program cannot be started
_SHORTAGES = (errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN)
_INCOMPLETE = ("cannot find module", "cannot find package", "loading shared libraries", "library not loaded")


def fault_of(ended: Ended, words: str) -> str:
    """The word for a process that has ended before it did anything; `words`: what it said. "" for no fault known."""
    lowered = words.lower()
    for number in _SHORTAGES:
        if errno.errorcode[number] in words or os.strerror(number).lower() in lowered:
            return BY_NUMBER[number]
    is_broken = ended.has_crashed or any(said in lowered for said in _INCOMPLETE)
    return _CODES.get(ended.code or 0, OTHER if is_broken else "")
