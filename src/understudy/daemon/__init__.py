"""The daemon: the part that lives on the machine at home, claims work and shows that it is alive.

Law of this room: its loops (`life`, `heartbeat`, `guard_keeper`) are steps like the worker's; what is real
(hub client, spool, home, guard link) is performed by `machine` and put together by `assembly`. It knows the
hub by its wire only.
"""

from understudy.daemon.assembly import Daemon
from understudy.daemon.settings import DaemonSettings

__all__ = ["Daemon", "DaemonSettings", "run"]


def run(settings: DaemonSettings) -> int:
    """Live one life of a daemon in this process → its exit code. ConfigError if it cannot begin."""
    return Daemon(settings).run()
