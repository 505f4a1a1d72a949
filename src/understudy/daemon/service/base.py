"""A service under any supervisor: its program, its state, and what the supervisor can do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from understudy.errors import UnderstudyError


class ServiceError(UnderstudyError):
    """The supervisor refused or did not do what was asked; the message names the fix."""

    code = "service"


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """The program that is kept running, without any secret."""

    role: str  # hub or daemon
    argv: tuple[str, ...]  # the first one is absolute
    env: Mapping[str, str]
    data_dir: Path
    stop_s: int  # how long an orderly end may take


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """A service as the supervisor sees it now."""

    is_installed: bool  # its file is there
    is_loaded: bool = False  # the supervisor knows it
    pid: int = 0
    is_stopping: bool = False  # its process is still there, on its way to the end
    parked: str = ""  # why the supervisor starts it no more, in its own word
    starts: int = 0  # since it was loaded
    last_exit: str = ""  # in the supervisor's words
    env: Mapping[str, str] = field(default_factory=dict)  # what the installed file gives it
    program: str = ""  # the first word of its command
    stop_s: int = 0  # how long its end may take; 0: as long as it asks for

    @property
    def word(self) -> str:
        """absent, stopped, parked, starting or running."""
        if not self.is_installed:
            return "absent"
        if self.pid:
            return "running"
        if self.parked:
            return "parked"
        return "starting" if self.is_loaded else "stopped"


class Supervisor(Protocol):
    """launchd or systemd, for one service; every method but `state` and `file` raises ServiceError."""

    kind: str
    name: str  # label or unit
    path: Path  # of its file

    def file(self, program: Program) -> bytes:
        """The plist or unit, pure."""
        ...

    def install(self, program: Program) -> None:
        """Write the file and start what it says, in the place of whatever ran before."""
        ...

    def uninstall(self) -> None:
        """Stop it, and remove its file; nothing happens if there is none."""
        ...

    def start(self) -> None:
        """Run it, if it does not run yet."""
        ...

    def stop(self) -> None:
        """End it, until it is started or the owner logs in again."""
        ...

    def restart(self) -> None:
        """End it and start it anew."""
        ...

    def state(self) -> State:
        """As it is now."""
        ...

    def log_hint(self) -> str:
        """The command that shows what it wrote."""
        ...


def service_dir(data_dir: Path) -> Path:
    """The directory of a service's secrets and other files, for its owner alone."""
    return data_dir / "service"


def log_file(data_dir: Path, role: str) -> Path:
    """The file of the program's stderr, for the last lines of a crash. The logger never writes there."""
    return data_dir / "logs" / f"{role}.stderr"
