"""Finds an older assistant daemon on this machine and says how to stop it, so that two never run.

They were started in four ways: as a user agent, as a root daemon of launchd, in a tmux session, or by hand as a
node process.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import psutil

from understudy.daemon.service.commands import Run

LABEL = "com.assistant.daemon"
SCRIPT = "assistant-daemon.js"
RUNTIMES = frozenset({"node", "nodejs", "bun", "deno"})
_PID = re.compile(r"^\tpid = (\d{1,10})$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Older:
    """One trace of an older daemon: where it is kept or runs, and the exact commands that stop it for good."""

    kind: str  # agent, root, tmux or process
    where: str
    stop: tuple[str, ...]
    pid: int = 0  # 0: it does not run now, but will at the next login or start


@dataclass(frozen=True, slots=True)
class SeenProcess:
    """One process as far as it matters here."""

    pid: int
    argv: tuple[str, ...]
    ancestors: tuple[int, ...]


class MachineView(Protocol):
    """A machine as the search for older daemons sees it."""

    def processes(self) -> Iterator[SeenProcess]:
        """Those that may be read."""
        ...

    def exists(self, path: Path) -> bool:
        """True if there is such a file."""
        ...


class ThisMachine:
    """This machine."""

    def processes(self) -> Iterator[SeenProcess]:
        """By psutil; processes of others may be hidden (macOS shows no argv of other users)."""
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):
                argv = tuple(process.cmdline())
                if _is_older(argv):
                    yield SeenProcess(process.pid, argv, tuple(parent.pid for parent in process.parents()))

    def exists(self, path: Path) -> bool:
        """By the file system."""
        with contextlib.suppress(OSError):
            return path.exists()
        return False


def find_older(
    run: Run,
    *,
    home: Path,
    uid: int = -1,
    is_darwin: bool = False,
    view: MachineView | None = None,
    root: Path = Path("/"),
) -> tuple[Older, ...]:
    """Everything that is left of older daemons here; each process is listed once."""
    seen = view or ThisMachine()
    jobs = tuple(_jobs(run, seen, home, os.getuid() if uid < 0 else uid, root)) if is_darwin else ()
    known = {job.pid for job in jobs if job.pid}
    loose = [p for p in seen.processes() if _is_older(p.argv) and not known & {p.pid, *p.ancestors}]
    panes = _tmux_panes(run) if loose else {}
    return (*jobs, *(_process(process, panes) for process in loose))


def _is_older(argv: tuple[str, ...]) -> bool:
    """`node …/assistant-daemon.js`, not an editor that shows it."""
    return bool(argv) and Path(argv[0]).name in RUNTIMES and any(Path(word).name == SCRIPT for word in argv[1:])


def _jobs(run: Run, view: MachineView, home: Path, uid: int, root: Path) -> Iterator[Older]:
    agent, daemon = f"Library/LaunchAgents/{LABEL}.plist", f"Library/LaunchDaemons/{LABEL}.plist"
    for kind, domain, path, sudo in (
        ("agent", f"gui/{uid}", home / agent, ""),
        ("agent", f"gui/{uid}", root / agent, "sudo "),
        ("root", "system", root / daemon, "sudo "),
    ):
        is_there = view.exists(path)
        printed = run(("launchctl", "print", f"{domain}/{LABEL}"))
        is_mine = printed.code == 0 and (is_there or path.parent.parent.parent == home or kind == "root")
        if not (is_there or is_mine):
            continue
        pid = _PID.search(printed.out) if is_mine else None
        boot_out = (f"{sudo if kind == 'root' else ''}launchctl bootout {domain}/{LABEL}",) if is_mine else ()
        shown = shlex.quote(str(path))
        put_away = (f"{sudo}mv {shown} {shown}.off",) if is_there else ()
        yield Older(kind, str(path), (*boot_out, *put_away), int(pid[1]) if pid else 0)


def _tmux_panes(run: Run) -> dict[int, str]:
    """Session by the process that its pane started."""
    ran = run(("tmux", "list-panes", "-a", "-F", "#{pane_pid} #{session_name}"))
    rows = (line.partition(" ") for line in ran.out.splitlines()) if ran.code == 0 else ()
    return {int(pid): session for pid, _, session in rows if pid.isdecimal()}


def _process(process: SeenProcess, panes: dict[int, str]) -> Older:
    session = next((panes[pid] for pid in (process.pid, *process.ancestors) if pid in panes), "")
    where = shlex.join(process.argv)[:200]
    if session:
        return Older("tmux", session, (f"tmux kill-session -t {shlex.quote(session)}",), process.pid)
    return Older("process", where, (f"kill {process.pid}",), process.pid)
