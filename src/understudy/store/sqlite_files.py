"""The files of an open store: whether what is committed still lands in the files that people find under its name.

SQLite holds files, not names: when `hub.db`, its `-wal` or its `-shm` is deleted or replaced, it goes on with files
that nobody will ever see again, and every commit succeeds. So each commit is answered only if the names still
lead to them. The inode number of a deleted file may be given to a new file, but not while somebody holds the deleted
one open. This module does so for the store, and the writing connection for its `-wal` and `-shm`.

A name cannot change without a change of its directory, so most commits ask for that alone: one call instead of three.
"""

from __future__ import annotations

import os
import sqlite3
import time
from contextlib import suppress
from glob import escape
from pathlib import Path
from struct import Struct
from urllib.parse import quote

from understudy.clock import SystemClock
from understudy.private import sync_directory

SUFFIXES = ("", "-wal", "-shm")
RESCUED_MAX = 3  # copies beside the store
STEPS_A_LOOK = 50_000  # of SQLite's machine: a few ms
HEADER = b"SQLite format 3\0"
PAGES_AT, PAGE_SIZE_AT = slice(28, 32), slice(16, 18)
INDEX_HEAD_BYTES, _LOG_SIZE = 20, Struct("=14xHI")  # of -shm: page size, frames (SQLite, WAL-index format)
LOG_HEAD_BYTES, FRAME_HEAD_BYTES = 32, 24  # of -wal
DIRECTORY_SETTLES_MS = 3_000
_Directory = tuple[int, int, int, int]  # device, inode, when its names changed, when anything of it changed
_DAMAGE = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_SHORT_READ = 522  # SQLITE_IOERR_SHORT_READ: the file ends before its last page


def is_damage(error: sqlite3.Error) -> bool:
    """True if the error says that the file itself is not what it should be."""
    code = getattr(error, "sqlite_errorcode", 0) or 0
    return code & 0xFF in _DAMAGE or code == _SHORT_READ


class StoreFiles:
    """The files that were opened. Descriptors are kept: closing one would drop SQLite's locks on that file."""

    def __init__(self, path: Path, name: Path) -> None:
        """Watch the file at `path`, which is no link, and the name by which it was asked for, which may be one."""
        self._path = path
        self._names = {suffix: f"{path}{suffix}" for suffix in SUFFIXES}
        is_link = name.absolute() != path
        if is_link:
            self._names["link"] = str(name.absolute())
        self._log_name = self._names["-wal"]
        self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._index_fd = self._log_fd = -1
        with suppress(FileNotFoundError):  # a store without a log
            self._log_fd = os.open(self._log_name, os.O_RDONLY | os.O_CLOEXEC)
            self._index_fd = os.open(f"{path}-shm", os.O_RDONLY | os.O_CLOEXEC)
        self._known: dict[str, tuple[int, int]] = {}
        self._directory = "" if is_link else str(path.parent)  # a link changes elsewhere
        self._settled: _Directory | None = None  # as it was when every name was right
        self.note()

    def note(self) -> None:
        """Remember the files that are there and were not yet known."""
        for suffix in self._names:
            if suffix not in self._known:
                found = self._identity(suffix)
                if found is not None:
                    self._known[suffix] = found

    def trouble(self) -> str:
        """The file that was deleted, replaced or cut; "" if all are the ones that were opened."""
        return self.name_trouble() or self.log_trouble()

    def name_trouble(self) -> str:
        """The name that no longer leads to the file that was opened."""
        directory = self._look_at_directory()
        if directory == self._settled is not None:
            return ""
        for suffix, known in self._known.items():
            found = self._identity(suffix)
            if found != known:
                return f"{self._names[suffix]} was {'deleted' if found is None else 'replaced'} while the hub runs"
        self._settled = directory if _is_settled(directory) else None
        return ""

    def _look_at_directory(self) -> _Directory | None:
        try:
            found = os.stat(self._directory)  # noqa: PTH116 - as below
        except OSError:
            return None
        return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_ctime_ns

    def log_trouble(self) -> str:
        """The log, if it lacks frames that its index names; "" if not. Read twice, because a checkpoint empties both.

        The next commit writes a log that looks whole, so this shows only before it.
        """
        if self._index_fd < 0:
            return ""
        head = os.pread(self._index_fd, INDEX_HEAD_BYTES, 0)
        page, frames = _LOG_SIZE.unpack_from(head) if len(head) == INDEX_HEAD_BYTES else (0, 0)
        wanted = LOG_HEAD_BYTES + frames * ((65_536 if page == 1 else page) + FRAME_HEAD_BYTES) if frames else 0
        size = os.lseek(self._log_fd, 0, os.SEEK_END)  # of the file that was opened: whether it is this one, names say
        if size < wanted and os.pread(self._index_fd, INDEX_HEAD_BYTES, 0) == head:
            return f"{self._log_name} was emptied or cut"
        return ""

    def header_trouble(self) -> str:
        """The fault of the first page on disk, or of the file's length; "" for none."""
        head = os.pread(self._fd, 100, 0)
        if not head:
            return f"{self._path} was emptied"
        if head[:16] != HEADER:
            return f"{self._path} is overwritten: it does not begin as a store does"
        size = int.from_bytes(head[PAGE_SIZE_AT], "big")
        wanted = int.from_bytes(head[PAGES_AT], "big") * (65_536 if size == 1 else size)
        if os.fstat(self._fd).st_size < wanted:
            return f"{self._path} was cut: it is shorter than it says itself"
        return ""

    def _identity(self, suffix: str) -> tuple[int, int] | None:
        try:
            found = os.stat(self._names[suffix])  # noqa: PTH116 - thrice a commit: a Path costs more than the call
        except OSError:
            return None
        return found.st_dev, found.st_ino

    def put_log_aside(self) -> None:
        """Rename the log of a store that lost its name: SQLite would apply it to the file that has the name next.

        SQLite leaves it there when it closes a file that was moved. OSError if that is not possible.
        """
        if self._identity("") == self._known[""]:
            return
        aside = f"{self._path}.lost-{SystemClock().now_ms()}"
        for suffix in ("-wal", "-shm"):
            known = self._known.get(suffix)
            if known is not None and self._identity(suffix) == known:
                Path(self._names[suffix]).rename(f"{aside}{suffix}")
                sync_directory(self._path.parent)

    def close(self) -> None:
        """After the last connection was closed; again is nothing."""
        for fd in (self._fd, self._index_fd, self._log_fd):
            if fd >= 0:
                os.close(fd)
        self._fd = self._index_fd = self._log_fd = -1


def _is_settled(directory: _Directory | None) -> bool:
    """False while a second change might have the time stamp of the first: some file systems count in two seconds."""
    return directory is not None and SystemClock().now_ms() - directory[-1] // 1_000_000 >= DIRECTORY_SETTLES_MS


def rescued(path: Path) -> list[Path]:
    """Copies that were saved when the files of this store were lost, oldest first."""
    return sorted(path.parent.glob(f"{escape(path.name)}.rescued-*"))


def rescue(connection: sqlite3.Connection, path: Path, now_ms: int) -> Path:
    """Copy everything that was committed to a file beside the store, from the files that have lost their names.

    OSError or sqlite3.Error if that is not possible.
    """
    if len(rescued(path)) >= RESCUED_MAX:
        raise FileExistsError(f"{RESCUED_MAX} rescued copies are here already")
    target = path.with_name(f"{path.name}.rescued-{now_ms}")
    unfinished = target.with_name(f".{target.name}")
    os.close(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    try:
        copy = sqlite3.connect(unfinished)
        try:
            connection.backup(copy)
        finally:
            copy.close()
        unfinished.replace(target)
        sync_directory(target.parent)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise
    return target


def check_file(path: Path, within_s: float) -> str | None:
    """The fault that SQLite finds in a store that a hub may be using; "" for none, None if there was no time for all.

    Nothing is written, and no other program is held up by it.
    """
    until_s = time.monotonic() + within_s
    try:
        connection = sqlite3.connect(f"file:{quote(str(path.absolute()))}?mode=ro", uri=True)
        try:
            connection.set_progress_handler(lambda: int(time.monotonic() > until_s), STEPS_A_LOOK)
            said = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        finally:
            connection.close()
    except sqlite3.OperationalError as error:
        return None if error.sqlite_errorcode == sqlite3.SQLITE_INTERRUPT else str(error)
    except sqlite3.Error as error:
        return str(error)
    return "" if said == "ok" else str(said)
