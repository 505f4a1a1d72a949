"""Runs a command of the system with a deadline; whatever it started ends with it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Callable, Sequence
from typing import NamedTuple

from understudy.worker.hidden import without_secrets

ABSENT = 127  # as a shell says it
TIMED_OUT = 124  # as timeout(1) says it
WITHIN_S = 15.0


class CommandOutcome(NamedTuple):
    """The outcome of a command."""

    code: int
    out: str = ""
    err: str = ""

    @property
    def said(self) -> str:
        """One line of it, for a message."""
        return " ".join((self.err or self.out).split())[:300] or f"exit code {self.code}"


Run = Callable[..., CommandOutcome]  # (argv, within_s=…)


def run(argv: Sequence[str], within_s: float = WITHIN_S) -> CommandOutcome:
    """Run it to its end; a missing command is code 127, one that takes too long 124."""
    try:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            env={**without_secrets(os.environ), "LC_ALL": "C"},
            start_new_session=True,
        )
    except OSError as error:
        return CommandOutcome(ABSENT, err=f"{argv[0]}: {error.strerror or error}")
    try:
        out, err = process.communicate(timeout=within_s)
        return CommandOutcome(process.returncode, out, err)
    except subprocess.TimeoutExpired:
        _kill(process)
        return CommandOutcome(TIMED_OUT, err=f"{argv[0]}: no end after {within_s:g} s")
    except BaseException:  # Ctrl-C reaches us alone, since the command has a session of its own
        _kill(process)
        raise


def _kill(process: subprocess.Popen[str]) -> None:
    """End it with all that it started."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
