"""One holder at a time, however the others come."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from understudy.runtime.lock import FileLock, LockedError


def test_second_taker_is_told_who_has_it(tmp_path: Path) -> None:
    lock = FileLock(tmp_path / "lock")
    lock.take("The data directory d")
    sentence = f"The data directory d is in use by process {os.getpid()}: stop it first"
    with pytest.raises(LockedError, match=sentence) as told:
        FileLock(tmp_path / "lock").take("The data directory d")
    assert told.value.fields == {"pid": str(os.getpid())}
    assert stat.S_IMODE((tmp_path / "lock").stat().st_mode) == 0o600


def test_a_disk_without_locks_is_no_other_holder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As some network disks are: nobody has the lock, so nobody is to be stopped first."""

    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", no_locks)
    with pytest.raises(OSError, match="No locks available") as told:
        FileLock(tmp_path / "lock").take("x")
    assert told.value.filename == str(tmp_path / "lock")


def test_released_lock_can_be_taken_at_once(tmp_path: Path) -> None:
    for _ in range(3):
        lock = FileLock(tmp_path / "lock")
        lock.take("x")
        lock.release()
    lock.release()


def test_who_opened_the_file_before_a_release_holds_the_same_lock_as_who_comes_after(tmp_path: Path) -> None:
    """A file that goes with its lock would leave the early one with a lock that nobody else sees."""
    first, late = FileLock(tmp_path / "lock"), FileLock(tmp_path / "lock")
    first.take("x")
    early = os.open(tmp_path / "lock", os.O_RDWR)
    try:
        first.release()
        fcntl.flock(early, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with pytest.raises(LockedError):
            late.take("x")
    finally:
        os.close(early)


def test_holder_that_was_killed_holds_nothing(tmp_path: Path) -> None:
    code = (
        "import pathlib, sys; from understudy.runtime.lock import FileLock;"
        "FileLock(pathlib.Path(sys.argv[1])).take('x') or print('held', flush=True); sys.stdin.read()"
    )
    argv = (sys.executable, "-c", code, str(tmp_path / "lock"))
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(LockedError, match=f"process {holder.pid}:"):
            FileLock(tmp_path / "lock").take("x")
        holder.kill()
        holder.wait()
        lock = FileLock(tmp_path / "lock")
        lock.take("x")
        lock.release()
