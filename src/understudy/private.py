"""Files that only their owner can read: files 0600, directories 0700, whatever the umask is.

Tasks, answers, keys and logs are in them. A directory that the owner shares with others (`--data ~/project`, `LOG_DIR`)
keeps its mode; our files and our directories in it are closed nevertheless.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import grp
import os
import pwd
import stat
import tempfile
from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import IO

from understudy.texts import t

FILE, DIRECTORY = 0o600, 0o700
OTHERS = 0o077
_IS_LINK = frozenset({errno.ELOOP, errno.EMLINK})  # as systems say that they follow none
_NOT_A_FILE = _IS_LINK | {errno.ENXIO}  # a pipe that nobody reads
ENTRIES_MAX = 100_000  # looked at by `tighten`: 8 daemons with full spools, evidence and outputs are 11,000
TEMPORARY = ".understudy-"
# what stands in a data directory
OURS = (
    ".hub.db*",
    f"{TEMPORARY}*",
    "admin-key",
    "api-key",
    "client.json",
    "daemon",
    "daemons",
    "hub.db*",
    "hub.lock",
    "known-hubs",
    "logs",
    "machine-id",
    "service",
    "understudy.toml",
    "workspace",
)
# closed themselves; in them are the files of an assistant, and of Python's installer
NOT_ENTERED = frozenset({"workspace", "environments"})


def make_directory(path: Path) -> Path:
    """Make it, and what is missing on the way to it, 0700; one that is there stays as it is. OSError."""
    if not path.is_dir():
        if path.parent != path:
            make_directory(path.parent)
        with contextlib.suppress(FileExistsError):
            path.mkdir(mode=DIRECTORY)
        if not path.is_dir():
            raise NotADirectoryError(20, os.strerror(20), str(path))
    return path


def own_directory(path: Path) -> Path:
    """The same for one that is ours alone: if others can look into it, it is closed. OSError if it cannot be made."""
    close(make_directory(path))
    return path


def open_private(path: Path, mode: str = "ab") -> IO[bytes]:
    """A file to write ("wb") or to append to ("ab"); 0600 also if somebody made it with another mode. OSError.

    PlantedError, an OSError, where somebody else may have put it there (`open_ours`).
    """
    fd = open_ours(path, os.O_WRONLY | os.O_CREAT | (os.O_APPEND if mode == "ab" else 0))
    try:
        found = os.fstat(fd)
        if mode != "ab" and stat.S_ISREG(found.st_mode):
            os.ftruncate(fd, 0)
        if found.st_mode & OTHERS:
            with contextlib.suppress(OSError):
                os.fchmod(fd, FILE)
        return os.fdopen(fd, mode)
    except BaseException:
        os.close(fd)
        raise


class PlantedError(OSError):
    """A file in a directory that others may write, which they may have put there: what we write would be theirs."""

    def __init__(self, path: Path) -> None:
        super().__init__(errno.EPERM, t("files.planted", path=path, directory=path.parent), str(path))

    def __str__(self) -> str:
        return str(self.strerror)


def open_ours(path: Path, flags: int) -> int:
    """A descriptor of a file, made 0600 if it is missing. OSError.

    Where others may write the directory, PlantedError for a link, a pipe, and a file of theirs; links of our own or of
    root go on, and so do all links in a directory of our own: logs are linked on purpose.
    """
    try:
        place = path.parent.stat()
    except OSError:  # the opening says it better
        place = None
    if place is None or not _may_be_written_by_others(place):
        return os.open(path, flags | os.O_CLOEXEC, FILE)
    try:
        fd = os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, FILE)
    except OSError as error:
        if error.errno in _IS_LINK and _is_ours_or_roots(path):
            return os.open(path.parent / path.readlink(), flags | os.O_CLOEXEC, FILE)
        if error.errno in _NOT_A_FILE:
            raise PlantedError(path) from error
        raise
    if _is_file_of_ours(os.fstat(fd), place):
        os.set_blocking(fd, True)
        return fd
    os.close(fd)
    raise PlantedError(path)


def is_planted(path: Path) -> bool:
    """True if `open_ours` refuses what is there now. It is not opened: pipes make one wait for a reader."""
    try:
        place, found = path.parent.stat(), path.lstat()
    except OSError:
        return False
    if not _may_be_written_by_others(place):
        return False
    is_link = stat.S_ISLNK(found.st_mode)
    return not (_is_ours_or_roots(path) if is_link else _is_file_of_ours(found, place))


def _is_file_of_ours(found: os.stat_result, directory: os.stat_result) -> bool:
    """True for a file under one name only, that is ours or belongs to the one whose directory it is."""
    is_plain = stat.S_ISREG(found.st_mode) and found.st_nlink <= 1
    return is_plain and found.st_uid in (os.geteuid(), directory.st_uid)


def _may_be_written_by_others(directory: os.stat_result) -> bool:
    if directory.st_uid not in (0, os.geteuid()) or directory.st_mode & stat.S_IWOTH:
        return True
    return bool(directory.st_mode & stat.S_IWGRP) and not _is_group_of_one(directory.st_gid)


@cache
def _is_group_of_one(gid: int) -> bool:
    """True for the group that many systems make for each user alone."""
    try:
        group, user = grp.getgrgid(gid), pwd.getpwuid(os.geteuid())
    except KeyError:
        return False
    return gid == user.pw_gid and group.gr_name == user.pw_name and set(group.gr_mem) <= {user.pw_name}


def _is_ours_or_roots(link: Path) -> bool:
    with contextlib.suppress(OSError):
        return link.lstat().st_uid in (0, os.geteuid())
    return False


def write_private(path: Path, content: bytes, executable: bool = False) -> None:  # noqa: FBT001, FBT002 - one word
    """The whole content of a file. OSError."""
    with open_private(path, "wb") as file:
        file.write(content)
        if executable:
            os.fchmod(file.fileno(), DIRECTORY)


def write_durably(path: Path, content: bytes) -> None:
    """Write a file so that after any crash it is there whole or not at all; 0600."""
    _write_then(path, content, Path.replace)


def write_first(path: Path, content: bytes) -> None:
    """The same, unless somebody else has written it meanwhile: the first one counts.

    On a file system without links a reader may find it empty for a moment, and after a crash it may stay so.
    """
    with contextlib.suppress(FileExistsError):
        _write_then(path, content, _link)


def _write_then(path: Path, content: bytes, give_name: Callable[[Path, Path], object]) -> None:
    fd, name = tempfile.mkstemp(dir=path.parent, prefix=TEMPORARY)
    temporary = Path(name)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(content)
            file.flush()
            _sync(file.fileno())
        give_name(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def _link(temporary: Path, path: Path) -> None:
    try:
        path.hardlink_to(temporary)
    except FileExistsError:
        raise
    except OSError:  # a file system without links
        _write_new(path, temporary.read_bytes())
    temporary.unlink()


def _write_new(path: Path, content: bytes) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(content)
            file.flush()
            _sync(file.fileno())
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def real_path(path: Path) -> Path:
    """The file that the name leads to; links that lead in a circle are left for the one who opens it to refuse."""
    return Path(os.path.realpath(path))


def sync_directory(path: Path) -> None:
    """Make a rename or an unlink in it durable."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def sync_to_disk(directory: Path) -> None:
    """The same, and what was synced before it reaches the disk itself, where the file system lets us ask for that."""
    sync_directory(directory)
    fd = os.open(directory, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):
            _sync(fd)
    finally:
        os.close(fd)


def _sync(fd: int) -> None:
    """On macOS only F_FULLFSYNC reaches the disk (docs/measured.md, Disks)."""
    if hasattr(fcntl, "F_FULLFSYNC"):
        fcntl.fcntl(fd, fcntl.F_FULLFSYNC)
    else:
        os.fsync(fd)


def close(path: Path) -> None:
    """Take every right of others from one file or directory of ours; links and what is another's stay as they are."""
    with contextlib.suppress(OSError):
        found = path.lstat()
        if stat.S_ISLNK(found.st_mode) or found.st_uid != os.geteuid() or not found.st_mode & OTHERS:
            return
        path.chmod(stat.S_IMODE(found.st_mode) & ~OTHERS)


def tighten(data_dir: Path) -> None:
    """Close what earlier versions, other umasks or `mkdir` left open in a data directory, and itself if it is ours."""
    names = _names(data_dir)
    if all(_is_ours(name) for name in names):
        close(data_dir)
    left = ENTRIES_MAX
    for name in filter(_is_ours, names):
        for path in _below(data_dir / name):
            close(path)
            left -= 1
            if not left:
                return


def _is_ours(name: str) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in OURS)


def _names(directory: Path) -> list[str]:
    try:
        return sorted(os.listdir(directory))  # noqa: PTH208 - names, not paths
    except OSError:
        return []


def _below(path: Path) -> Iterator[Path]:
    """The path, and everything in it."""
    yield path
    if path.name in NOT_ENTERED or path.is_symlink() or not path.is_dir():
        return
    for name in _names(path):
        yield from _below(path / name)
