"""A daemon's place on disk: the machine's id, one lock per name, spool, evidence and markers of runs."""

from __future__ import annotations

import contextlib
import os
import platform
import re
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from understudy.errors import ConfigError
from understudy.ids import IdMaker
from understudy.private import own_directory, tighten, write_durably, write_first, write_private
from understudy.runtime.lock import FileLock, LockedError, holder_of
from understudy.texts import t

_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
HOUR_MS = 3_600_000
DAEMONS, LOCK, ENVIRONMENT, DIRECTIVES = "daemons", "lock", "environment", "directives.json"
MACHINE_ID_CHARS_MAX = 128  # as the hub takes it
STARTS_MAX = 1_000
WRITTEN_S = 0.5  # until a file that another process makes has its content
DIGITS_MAX = 20  # of an instant in ms; Python reads no number of thousands
_NOT_ID = re.compile(r"[^A-Za-z0-9._:-]++")


def default_daemon_id() -> str:
    """The host's short name, as far as an id may hold it."""
    name = platform.node().split(".")[0]
    return _NOT_ID.sub("-", name).strip("-.")[:64] or "daemon"


def checked_daemon_id(daemon_id: str) -> str:
    """The id, or ConfigError: it names a directory and goes into paths of the hub."""
    if not _ID.fullmatch(daemon_id) or set(daemon_id) <= {"."}:
        raise ConfigError(t("daemon.bad_id", daemon=daemon_id))
    return daemon_id


class Home:
    """Paths of one daemon below the data directory; everything in it is for its owner alone."""

    def __init__(self, data_dir: Path, daemon_id: str) -> None:
        self.daemon_id = daemon_id
        self.data_dir = data_dir
        self.root = data_dir / DAEMONS / daemon_id
        self.spool = self.root / "spool"
        self.evidence = self.root / "evidence"
        self.markers = self.root / "runs"
        self.outputs = self.root / "outputs"
        self.directives = self.root / DIRECTIVES
        self.environment = self.root / ENVIRONMENT  # the one that this daemon runs in
        self.arrived = self.root / "arrived"  # the last life of which a beat was accepted
        self.stopped = self.root / "stopped"  # the last life that a signal ended
        self.planned = self.root / "planned.json"  # an owner announced the stop that comes next
        self.alarms = self.root / "alarms.json"  # those that the owner got from this daemon, and that are not over
        self.verdict = self.root / "verdict.json"  # why an update was taken back
        with _kept_in(data_dir):
            for path in (self.spool, self.evidence, self.markers):
                own_directory(path)
        tighten(data_dir)

    def lock(self) -> FileLock:
        """Held while this daemon lives; ConfigError if another process holds it."""
        lock = FileLock(self.root / LOCK)
        try:
            with _kept_in(self.data_dir):
                lock.take(f"The daemon {self.daemon_id}")
        except LockedError as error:
            message = t("daemon.already_running", daemon=self.daemon_id, pid=error.fields["pid"])
            raise ConfigError(message) from error
        return lock

    def machine_id(self, ids: IdMaker) -> str:
        """This machine's name for the hub, made once and kept; ConfigError if it cannot be kept.

        One that is not kept would make the next start another machine, which the hub refuses (`id_taken`). One that
        a crash has spoilt is made anew: with it no beat would be accepted, or no start succeed.
        """
        path = self.data_dir / "machine-id"
        with _kept_in(self.data_dir):
            if not path.exists():
                write_first(path, ids.new("machine").encode())  # another daemon of this directory may start now, too
            known = _written(path)
            if not known.isprintable() or "\ufffd" in known or not 0 < len(known) <= MACHINE_ID_CHARS_MAX:
                known = ids.new("machine")
                write_durably(path, known.encode())
            return known

    def new_boot_id(self, ids: IdMaker) -> str:
        """A name for this start that sorts after those of all earlier ones.

        By the order the hub knows a beat that a dead start sent and that arrives late: it must not take the
        place of the start that lives.
        """
        path = self.root / "boot-id"
        last = _said_in(path).strip()
        boot_id = ids.new_after("boot", last)
        with contextlib.suppress(OSError):  # a full disk: what is spooled must be delivered all the same
            write_durably(path, boot_id.encode())
        return boot_id

    def note_stop(self, boot_id: str) -> None:
        """Note that somebody ends this life on purpose: no update is to start another one in its place."""
        with contextlib.suppress(OSError):  # a full disk hinders no end
            write_durably(self.stopped, boot_id.encode())

    def count_start(self, now_ms: int) -> int:
        """Note this start → how many there were within the last hour, this one included."""
        path = self.root / "starts"
        said = _said_in(path).split()
        starts = [
            int(at) for at in said if at.isdecimal() and len(at) < DIGITS_MAX and now_ms - HOUR_MS < int(at) <= now_ms
        ]
        starts = [*starts, now_ms][-STARTS_MAX:]
        with contextlib.suppress(OSError):  # only a count: no reason not to start
            write_private(path, " ".join(map(str, starts)).encode())
        return len(starts)


@contextlib.contextmanager
def _kept_in(data_dir: Path) -> Iterator[None]:
    """Guards what a first start must put on disk: ConfigError names the directory and the reason."""
    try:
        yield
    except OSError as error:
        message = t("daemon.no_place", path=error.filename or data_dir, reason=error.strerror or error, data=data_dir)
        raise ConfigError(message) from error


def _written(path: Path) -> str:
    """Its text; one that is empty may have been made a moment ago, and is read again."""
    until_s = time.monotonic() + WRITTEN_S
    while not (known := path.read_text("utf-8", errors="replace").strip()) and time.monotonic() < until_s:
        time.sleep(0.01)
    return known


def _said_in(path: Path) -> str:
    """The text of a file; "" of one that is not there, or that this machine cannot read: no reason not to start."""
    try:
        return path.read_text("utf-8", errors="replace")
    except OSError:
        return ""


def environments_in_use(data_dir: Path) -> set[str]:
    """The environments that the living daemons of a data directory have noted as theirs."""
    with contextlib.suppress(OSError):
        homes = list((data_dir / DAEMONS).iterdir())
        return {_said_in(home / ENVIRONMENT) for home in homes if holder_of(home / LOCK)}
    return set()


def aged_files(paths: Iterable[Path]) -> list[tuple[os.stat_result, Path]]:
    """Each with its stat, without those that another loop removes in the meantime."""
    found = []
    for path in paths:
        with contextlib.suppress(OSError):
            found.append((path.stat(), path))
    return found
