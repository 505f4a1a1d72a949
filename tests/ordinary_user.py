"""Starts programs as a user without privileges, of whom nobody else has processes: root reads all and has no limits."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

USER = 61_217
DROP = ("--clear-groups", "--bounding-set=-all", "--inh-caps=-all")
PLACES = "/usr/local/bin:/usr/bin:/opt/homebrew/bin"


class Ordinary(NamedTuple):
    """How a program of theirs is started."""

    start: tuple[str, ...]  # what is put before a command
    python: str
    env: dict[str, str]  # so that this Python finds our sources and what they need


def ordinary_user() -> Ordinary:
    """Whoever runs the tests, or somebody else for root; the test is skipped where that is not possible."""
    if os.geteuid() != 0:
        return Ordinary((), sys.executable, {})
    if shutil.which("setpriv") is None:
        pytest.skip("needs setpriv to stop being root")
    env = {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path and not path.endswith(".zip"))}
    for python in filter(None, (sys.executable, shutil.which(f"python3.{sys.version_info.minor}", path=PLACES))):
        if _can_run(python, env):
            return Ordinary(("setpriv", f"--reuid={USER}", f"--regid={USER}", *DROP), python, env)
    pytest.skip("an ordinary user can run no such Python here")


def _can_run(python: str, env: dict[str, str]) -> bool:
    theirs = {"user": USER, "group": USER, "extra_groups": (), "cwd": "/", "env": env}
    command = [os.path.realpath(python), "-P", "-c", "import understudy.daemon"]
    try:
        return subprocess.run(command, check=False, capture_output=True, **theirs).returncode == 0  # type: ignore[call-overload]
    except PermissionError:
        return False


@contextmanager
def folder_of_theirs() -> Iterator[Path]:
    """A directory that such a user may write to; gone afterwards."""
    with tempfile.TemporaryDirectory() as name:
        give(Path(name))
        yield Path(name)


def give(path: Path) -> Path:
    """Make it theirs."""
    if os.geteuid() == 0:
        os.chown(path, USER, USER)
    return path
