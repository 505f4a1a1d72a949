"""The system's own supervisor keeps hub and daemon running: launchd on macOS, systemd everywhere else.

What is written (plist, unit) is made by pure functions; what is done goes through `Run`, so that all of it works
against a fake `launchctl`. No secret is ever in a plist, a unit or an argument: they name files that only their owner
can read. Absent: system-wide services; the user who owns the assistant's login also owns its service.
"""

from understudy.daemon.service.base import Program, ServiceError, State, Supervisor, log_file, service_dir
from understudy.daemon.service.choice import supervisor_of
from understudy.daemon.service.commands import CommandOutcome, Run, run
from understudy.daemon.service.older import Older, find_older

__all__ = [
    "CommandOutcome",
    "Older",
    "Program",
    "Run",
    "ServiceError",
    "State",
    "Supervisor",
    "find_older",
    "log_file",
    "run",
    "service_dir",
    "supervisor_of",
]
