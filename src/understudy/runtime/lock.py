"""Only one process in each data directory and store: an advisory lock that the kernel frees when its holder ends."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from understudy.errors import ConfigError, UnderstudyError
from understudy.private import PlantedError, open_ours, real_path
from understudy.texts import t

HELD = frozenset({errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES})  # by somebody else, as systems say it


class LockedError(UnderstudyError):
    """Somebody else holds the lock; the field `pid` is who, "?" where it is not known."""

    code = "locked"


def holder_of(path: Path) -> int:
    """The process that holds the lock, 0 if none does; it is taken for an instant to find out."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return 0
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        holder = os.read(fd, 32).decode(errors="replace").strip()
        return int(holder) if holder.isdecimal() else 0
    finally:
        os.close(fd)
    return 0


class FileLock:
    """Held from `take` to `release` or the end of the process, however that comes."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd = -1

    def take(self, what: str) -> None:
        """Take the lock; LockedError says who has it, OSError that there are no locks here (some network disks).

        ConfigError where somebody else may have put the file there.
        """
        try:
            fd = open_ours(self._path, os.O_RDWR | os.O_CREAT)
        except PlantedError as error:
            raise ConfigError(str(error)) from error
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in HELD:
                os.close(fd)
                raise OSError(error.errno, error.strerror, str(self._path)) from error
            holder = os.read(fd, 32).decode(errors="replace").strip()
            os.close(fd)
            pid = holder or "?"
            raise LockedError(t("lock.held", what=what, pid=pid), pid=pid) from error
        with contextlib.suppress(OSError):  # on a full disk it is held all the same, only without a name
            os.ftruncate(fd, 0)
            os.write(fd, str(os.getpid()).encode())
        self._fd = fd

    def release(self) -> None:
        """Let go. The file stays, empty.

        Were it unlinked, who has opened it just before would lock a file without a name, while the next
        one makes a new file and locks that: two holders.
        """
        if self._fd >= 0:
            with contextlib.suppress(OSError):
                os.ftruncate(self._fd, 0)
            os.close(self._fd)
            self._fd = -1


@contextlib.contextmanager
def hub_locks(data_dir: Path, store: Path | None) -> Iterator[None]:
    """Hold what only one hub may use: its data directory, and the file of its store, whatever leads to it.

    LockedError, OSError and ConfigError as `FileLock.take`. A store in no directory is left to who opens it.
    """
    wanted = [(data_dir / "hub.lock", t("lock.data_dir", path=data_dir))]
    if store is not None and store.parent.is_dir():
        file = real_path(store)
        wanted.append((file.with_name(f"{file.name}.lock"), t("lock.store", path=store)))
    with contextlib.ExitStack() as held:
        for path, what in wanted:
            lock = FileLock(path)
            lock.take(what)
            held.callback(lock.release)
        yield
