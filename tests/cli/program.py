"""Runs the real program as a person would, and tells what came of it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

PROGRAM = [sys.executable, "-m", "understudy"]


class Done(NamedTuple):
    """What a command left behind."""

    code: int
    out: str
    err: str


def understudy(
    *arguments: str,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    given: str = "",
    within_s: float = 120,
) -> Done:
    """One command from start to end."""
    done = subprocess.run(
        [*PROGRAM, *arguments],
        env=None if env is None else dict(env),
        cwd=cwd,
        input=given,
        capture_output=True,
        text=True,
        timeout=within_s,
        check=False,
    )
    return Done(done.returncode, done.stdout, done.stderr)


def environ(**values: str) -> dict[str, str]:
    """The environment of this test session with some names set."""
    return {**os.environ, **values}
