"""Everything that one run has started, found again whatever it did to hide: descent, marker, session.

Assistants start their tools in sessions of their own, so killing the group of the root leaves orphans
(docs/measured.md, Process trees). A process is distinguished from a later one with the same pid by its start time.
What cannot be looked at, for want of descriptors or memory, is not gone: it counts as living.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple, TypeVar

import psutil

from understudy.clock import Clock
from understudy.worker.executors import MARKER

KILL_MS_MAX = 1_000
EXEC_LOOKS_MAX = 100  # a ms apart, at a process that begins a program
_ENV_END_AT = 48  # in stat(5), counted from the state: field 51
SEEN_MAX = 10_000  # processes that are remembered; beyond it those that are gone are forgotten
_GONE = (psutil.Error, OSError)
_LACKS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})  # of this machine: they say nothing of a process
T = TypeVar("T")


class Process(NamedTuple):
    """One process at this instant; `birth` is the kernel's stamp of its start, good only for comparing."""

    pid: int
    parent: int
    group: int
    session: int
    birth: float
    lives: bool  # zombies do not


class ProcessTree:
    """The processes of one run, as seen so far. `note` now and then; `end` or `kill` at the end."""

    def __init__(self, run_id: str, clock: Clock) -> None:
        self._marker = f"{MARKER}={run_id}".encode()
        self._clock = clock
        self._root = 0
        self._seen: dict[int, float] = {}  # pid → birth
        self._killing = threading.Lock()
        self._is_let_go = False
        _SPARE.hold()

    def root(self, pid: int, birth: float) -> None:
        """The process that everything else descends from; leader of its session."""
        self._root = pid
        self._seen[pid] = birth

    def note(self) -> None:
        """Remember who descends from us now: an orphan's descent cannot be asked for later."""
        before = tuple(self._seen)
        with contextlib.suppress(OSError):  # the next look may be luckier
            self._note(processes(), before)

    def alive(self) -> list[Process]:
        """Everybody of this run who lives, the root first; OSError if this machine cannot look."""
        before, now = tuple(self._seen), processes()
        self._note(now, before)
        self._note_session(now)
        self._note_marked(now)
        return sorted(self._living(now.values()), key=lambda process: process.pid != self._root)

    def kill(self, limit_ms: int = KILL_MS_MAX) -> int:
        """KILL everybody, again and again until nobody is left → how many survived the limit (0).

        Works on stopped processes too, and on those born while it looks.
        """
        until_ms = self._clock.mono_ms() + limit_ms
        pause_s = 0.002
        while left := self._kill_once():
            if self._clock.mono_ms() >= until_ms:
                return left
            time.sleep(pause_s)
            pause_s = min(0.05, pause_s * 2)
        return 0

    def kill_again(self, now: dict[int, Process], limit_ms: int = 0) -> int:
        """As `kill`, for what survived that, by a look at all processes that others share → how many survive (0).

        The marker is searched for only when nobody whom that look shows is left: it costs twice as much as the look.
        """
        until_ms = self._clock.mono_ms() + limit_ms
        with self._killing:
            if self._is_let_go:
                return 0
            self._note(now, ())
            self._note_session(now)
            left = self._kill(self._living(now.values()))
        with contextlib.suppress(OSError):  # the next look may be luckier
            while left and self._clock.mono_ms() < until_ms:
                time.sleep(0.02)
                left = self._living(_looked_at([process.pid for process in left]))
        return len(left) or self.kill(max(0, until_ms - self._clock.mono_ms()))

    def let_go(self) -> None:
        """Nobody of this run lives: from now on its marker is that of another start, of which nobody is killed here."""
        with self._killing:
            self._is_let_go = True

    def _kill_once(self) -> int:
        """KILL everybody → how many that were; whom this machine cannot look at counts as one."""
        with self._killing:
            if self._is_let_go:
                return 0
            try:
                return len(self._kill(self.alive()))
            except OSError:
                return 1

    def _kill(self, left: list[Process]) -> list[Process]:
        for process in left:
            _send(process, signal.SIGKILL)
        return left

    def end(self, grace_ms: int) -> int:
        """TERM to the root's group, `grace_ms` for everybody to go, then KILL → how many survived that (0).

        Assistants end their tools themselves; tools that outlive them are sent a TERM of their own.
        """
        self.note()
        until_ms = self._clock.mono_ms() + grace_ms
        signalled: set[int] = set()
        with contextlib.suppress(OSError):  # nobody can be looked at: `kill` tries for longer
            while (left := self._living(_looked_at(tuple(self._seen)))) and self._clock.mono_ms() < until_ms:
                group = [process for process in left if process.group == self._root]
                for process in group or left:
                    if process.pid not in signalled:
                        signalled.add(process.pid)
                        _send(process, signal.SIGTERM)
                time.sleep(0.02)
        return self.kill()

    def _living(self, processes: Iterable[Process]) -> list[Process]:
        return [p for p in processes if p.lives and self._seen.get(p.pid) == p.birth]

    def _note(self, now: dict[int, Process], before: tuple[int, ...]) -> None:
        """Remember who descends from us; of those that were known before this look, the gone may be forgotten."""
        known = {process.pid for process in self._living(now.values())}
        newest = known
        while newest:
            newest = {p.pid for p in now.values() if p.parent in newest and p.pid not in known}
            known |= newest
        self._remember(now[pid] for pid in known)
        if len(self._seen) > SEEN_MAX:  # one by one: another thread may remember somebody meanwhile
            for pid in before:
                if pid not in now and pid != self._root:
                    self._seen.pop(pid, None)

    def _note_session(self, now: dict[int, Process]) -> None:
        """Only while the root holds its pid (as a zombie, too): afterwards the id may belong to a later session."""
        root = now.get(self._root) if self._root > 1 else None  # session 0 is the whole machine
        if root is not None and root.birth == self._seen[self._root]:
            self._remember(p for p in now.values() if p.session == self._root)

    def _note_marked(self, now: dict[int, Process]) -> None:
        """Also those that begin another program just now: for a moment they have no environment at all."""
        strange = [p for p in now.values() if p.lives and p.session and self._seen.get(p.pid) != p.birth]
        for _ in range(EXEC_LOOKS_MAX):
            unclear: list[Process] = []
            for process in strange:
                environ = _environ(process.pid)
                if self._marker in environ.split(b"\0"):
                    self._remember((process,))
                elif not environ and _begins_program(process):
                    unclear.append(process)
            if not unclear:
                return
            strange = unclear
            time.sleep(0.001)

    def _remember(self, processes: Iterable[Process]) -> None:
        """Never ourselves, never the machine's first process."""
        us = os.getpid()
        self._seen.update((p.pid, p.birth) for p in processes if p.pid not in (0, 1, us))


def birth_of(pid: int) -> float:
    """The stamp of its start, 0.0 if it is gone; OSError if this machine cannot look."""
    process = _process(pid)
    return process.birth if process is not None else 0.0


def is_living(pid: int, birth: float) -> bool:
    """True if this very process is there and no zombie, or may be."""
    try:
        process = _process(pid)
    except OSError:
        return True
    return process is not None and process.lives and process.birth == birth


def _send(process: Process, number: signal.Signals) -> None:
    """Never to the machine's first process, to a group (0 and below), to ourselves or to who started us."""
    if process.pid <= 1 or process.pid in (os.getpid(), os.getppid()):
        return
    with contextlib.suppress(*_GONE):
        if birth_of(process.pid) == process.birth:
            os.kill(process.pid, number)


def _looked_at(pids: Iterable[int]) -> list[Process]:
    return [process for pid in pids if (process := _process(pid)) is not None]


def processes() -> dict[int, Process]:
    """All that are there; OSError if this machine cannot look."""
    return {process.pid: process for process in _looked_at(_looking(psutil.pids))}


def _process(pid: int) -> Process | None:
    """None if it is gone; OSError if this machine cannot look."""
    look = _process_linux if sys.platform == "linux" else _process_elsewhere
    with _unless_gone():
        return _looking(lambda: look(pid))
    return None


@contextlib.contextmanager
def _unless_gone() -> Iterator[None]:
    """Within, a process that is gone is no error; that this machine cannot look is one."""
    try:
        yield
    except _GONE as error:
        if isinstance(error, OSError) and error.errno in _LACKS:
            raise


class _Spare:
    """One descriptor kept back, so that processes can be looked at, and killed, when there is no other left."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._fd = -1

    def hold(self) -> None:
        """Have one, if there is one."""
        with self._lock:
            self._open()

    @contextlib.contextmanager
    def lent(self) -> Iterator[None]:
        """Within, one more descriptor can be opened, by the thread that is first to do so."""
        with self._lock:
            if self._fd >= 0:
                os.close(self._fd)
                self._fd = -1
            try:
                yield
            finally:
                self._open()

    def _open(self) -> None:
        if self._fd < 0:
            with contextlib.suppress(OSError):
                self._fd = os.open(os.devnull, os.O_RDONLY)


_SPARE = _Spare()


def _looking(look: Callable[[], T]) -> T:
    try:
        return look()
    except OSError as error:
        if error.errno != errno.EMFILE:
            raise
    with _SPARE.lent():
        return look()


def _stat(pid: int) -> list[bytes]:
    """The fields of stat from the state on; before that stands a name, which may contain anything."""
    stat = Path(f"/proc/{pid}/stat").read_bytes()
    return stat[stat.rindex(b")") + 2 :].split()


def _process_linux(pid: int) -> Process:
    """One read tells all (proc(5), stat): state, ppid, pgrp, session … starttime in ticks since boot."""
    fields = _stat(pid)
    parent, group, session = (int(value) for value in fields[1:4])
    return Process(pid, parent, group, session, float(fields[19]), fields[0] not in b"ZX")


def _begins_program(process: Process) -> bool:
    """True of one without an environment while execve(2) lays out its new memory, or if that has just been done."""
    if sys.platform != "linux" or not is_living(process.pid, process.birth):
        return False
    with contextlib.suppress(OSError):  # nobody of ours is refused to us
        is_laid_out = _stat(process.pid)[_ENV_END_AT] != b"0"
        return bool(Path(f"/proc/{process.pid}/environ").read_bytes()) or not is_laid_out
    return False


def _process_elsewhere(pid: int) -> Process:
    process = psutil.Process(pid)
    birth, parent = _birth_elsewhere(process), process.ppid()
    if process.status() in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD):  # macOS no longer knows its group
        return Process(pid, parent, 0, 0, birth, lives=False)
    return Process(pid, parent, os.getpgid(pid), os.getsid(pid), birth, lives=True)


def _birth_elsewhere(process: psutil.Process) -> float:
    """The kernel's stamp as it is: `create_time()` follows each step of the wall clock since psutil's import.

    psutil tells processes apart by the same stamp (7.1, `Process._get_ident`), but shows it to nobody.
    """
    try:
        return float(process._proc.create_time(monotonic=True))  # noqa: SLF001 - see above
    except (AttributeError, TypeError):
        return float(process.create_time())


def _environ(pid: int) -> bytes:
    """Its environment as it was when its program started; empty if it is not ours to read."""
    with _unless_gone():
        if sys.platform == "linux":
            return _looking(Path(f"/proc/{pid}/environ").read_bytes)
        return "\0".join(f"{n}={v}" for n, v in psutil.Process(pid).environ().items()).encode()
    return b""
