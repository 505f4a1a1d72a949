"""The daemon: the program on the assistant's machine, which claims work and shows that it is alive.

Law of this room: its loops (`life`, `heartbeat`, `guard_keeper`) are steps like the worker's; what is real
(hub client, spool, home, guard link) is performed by `machine` and put together by `assembly`. It knows the
hub by its wire only. `service` stands apart, so that commands use it without importing the rest (0.2 s).
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from understudy.daemon.inputs import DaemonInputs
from understudy.line_queue import queue_streams

if TYPE_CHECKING:
    from understudy.daemon.assembly import DaemonRuntime

__all__ = ["DaemonInputs", "DaemonRuntime", "run"]


def run(given: DaemonInputs) -> int:
    """Live one life of a daemon in this process → its exit code. ConfigError if it cannot begin.

    If it ends for another life, this process becomes that one, and this never returns.
    """
    from understudy.daemon.assembly import DaemonRuntime  # noqa: PLC0415 - see above

    queue_streams("stderr")
    daemon = DaemonRuntime(given)
    code = daemon.run()
    if daemon.succession is not None:
        for name in given.of_env_file:
            os.environ.pop(name, None)
        daemon.succession.begin()
    return code


def __getattr__(name: str) -> Any:
    """`DaemonRuntime`, read when it is asked for."""
    if name == "DaemonRuntime":
        from understudy.daemon.assembly import DaemonRuntime  # noqa: PLC0415 - see above

        return DaemonRuntime
    raise AttributeError(name)
