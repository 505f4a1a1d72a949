"""A daemon that somebody started by hand, and that would keep the service from starting."""

from __future__ import annotations

from pathlib import Path


def pid_by_hand(data_dir: Path, daemon_id: str, service_pid: int) -> int:
    """The pid that holds the lock of that daemon and is not the service; 0 if there is none. Creates nothing."""
    from understudy.daemon.home import checked_daemon_id, default_daemon_id
    from understudy.runtime.lock import FileLock, LockedError

    path = data_dir / "daemons" / checked_daemon_id(daemon_id or default_daemon_id()) / "lock"
    if not path.exists():
        return 0
    lock = FileLock(path)
    try:
        lock.take("the daemon")
    except LockedError as error:
        pid = error.fields["pid"]
        holder = int(pid) if pid.isdecimal() else 0
        return 0 if holder and holder == service_pid else holder or -1
    lock.release()
    return 0
