"""Ends one life of the daemon and begins the next: this process becomes the same or a new version, in place.

In place, because a service manager, a terminal or `understudy up` keep watching the same process, whichever started
it; `launchctl` and `systemctl` are not asked for anything (docs/measured.md, Services).
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from understudy import legible
from understudy.daemon.home import Home
from understudy.daemon.installation import PACKAGE, Installation
from understudy.daemon.updater import UpdatePlan
from understudy.line_queue import drain
from understudy.private import write_durably
from understudy.worker.process_tree import birth_of

DETACH_S = 20.0
OF_THIS_PYTHON = frozenset({"PYTHONPATH", "PYTHONHOME", "__PYVENV_LAUNCHER__"})


def same_again(python: str, argv: Sequence[str]) -> tuple[str, ...]:
    """The command that started this process, without the current directory as a place for code (`-P`)."""
    return (python, *(() if sys.flags.safe_path else ("-P",)), *argv[1:])


class Succession(msgspec.Struct, frozen=True):
    """The life after this one."""

    home: Home
    boot_id: str
    directive_id: str = ""  # of an update
    environment: str = ""  # "": the same version again
    confirm_ms: int = 60_000

    def begin(self) -> None:
        """Become it; OSError if not even the same version can be started again."""
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError):  # the disk behind it is full
                stream.flush()
        drain()
        old = same_again(sys.executable, sys.orig_argv)
        if self.environment:
            try:
                self._begin_update(old)
            except (OSError, subprocess.SubprocessError) as error:
                reason = legible.whole_characters(f"the new version could not be started: {error}")
                verdict = {self.directive_id: reason}
                with contextlib.suppress(OSError):  # a full disk keeps the reason, not the daemon
                    write_durably(self.home.verdict, msgspec.json.encode(verdict))
        os.execve(old[0], old, os.environ)  # noqa: S606 - the command that started this process

    def _begin_update(self, old: tuple[str, ...]) -> None:
        """Never returns if it works: this process is the new version, and somebody watches over it."""
        installation = Installation(self.home.data_dir)
        new = installation.environments / self.environment / "bin" / PACKAGE
        if not os.access(new, os.X_OK):
            raise FileNotFoundError(new)
        if not installation.running():
            installation.have_current()  # what a service starts until the new one is confirmed
        self._watched(old)
        env = {name: value for name, value in os.environ.items() if name not in OF_THIS_PYTHON}
        os.execve(new, (str(new), *sys.argv[1:]), env)  # noqa: S606 - installed and proven before

    def _watched(self, old: tuple[str, ...]) -> None:
        plan = UpdatePlan(
            directive_id=self.directive_id,
            boot_id=self.boot_id,
            pid=os.getpid(),
            birth=birth_of(os.getpid()),
            lock=str(self.home.root / "lock"),
            arrived=str(self.home.arrived),
            stopped=str(self.home.stopped),
            verdict=str(self.home.verdict),
            runs_in=str(self.home.environment),
            data_dir=str(self.home.data_dir),
            environment=self.environment,
            old=old,
            cwd=_here(),
            confirm_ms=self.confirm_ms,
        )
        subprocess.run(
            [sys.executable, "-P", "-m", "understudy.daemon.updater"],
            input=plan.written(),
            env=dict(os.environ),  # what it starts again needs the keys
            start_new_session=True,
            timeout=DETACH_S,
            check=True,
        )


def _here() -> str:
    """The current directory; the root if it is gone."""
    try:
        return str(Path.cwd())
    except OSError:
        return "/"
