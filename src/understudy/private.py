"""Files that only their owner can read: files 0600, directories 0700, whatever the umask is.

Tasks, answers, keys and logs are in them. A directory that the owner shares with others (`--data ~/project`, `LOG_DIR`)
keeps its mode; our files and our directories in it are closed nevertheless.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import tempfile
from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import IO

FILE, DIRECTORY = 0o600, 0o700
OTHERS = 0o077
ENTRIES_MAX = 100_000  # looked at by `tighten`: 8 daemons with full spools, evidence and outputs are 11,000
# what stands in a data directory
OURS = (
    ".*",
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
    """A file to write ("wb") or to append to ("ab"); 0600 also if somebody made it with another mode. OSError."""
    how = os.O_APPEND if mode == "ab" else os.O_TRUNC
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | how, FILE)
    try:
        if os.fstat(fd).st_mode & OTHERS:
            with contextlib.suppress(OSError):
                os.fchmod(fd, FILE)
        return os.fdopen(fd, mode)
    except BaseException:
        os.close(fd)
        raise


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
    """The same, unless somebody else has written it meanwhile: the first one counts."""
    with contextlib.suppress(FileExistsError):
        _write_then(path, content, _link)


def _write_then(path: Path, content: bytes, give_name: Callable[[Path, Path], object]) -> None:
    fd, name = tempfile.mkstemp(dir=path.parent, prefix=".")
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
        temporary.replace(path)
    else:
        temporary.unlink()


def sync_directory(path: Path) -> None:
    """Make a rename or an unlink in it durable."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
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
