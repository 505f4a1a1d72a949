"""Runs the real program as a person would, and tells what came of it."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from tests import prepared

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
    """One command from start to end: prepared, where the environment is not about the start.

    The start itself has tests of its own (test_code_path, test_streams, test_help, test_up).
    """
    chosen = dict(os.environ if env is None else env)
    is_text = all(isinstance(word, str) for word in arguments)  # or bytes that are none
    if arguments and is_text and not arguments[0].startswith("-") and prepared.can_be(chosen):
        return prepared_one(arguments, chosen, cwd, within_s, given=given)
    done = subprocess.run(
        [*PROGRAM, *arguments],
        env=chosen,
        cwd=cwd,
        input=given,
        capture_output=True,
        text=True,
        timeout=within_s,
        check=False,
    )
    return Done(done.returncode, done.stdout, done.stderr)


def prepared_one(
    arguments: tuple[str, ...],
    env: Mapping[str, str],
    cwd: Path | None,
    within_s: float,
    code: str = "",
    given: str = "",
) -> Done:
    """One command as a fork of the prepared process; `code` instead of the program, as `prepared.start` takes it."""
    with tempfile.TemporaryFile() as read, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        read.write(given.encode())
        read.seek(0)
        program = prepared.start(list(arguments), code=code, env=env, cwd=cwd, stdin=read, stdout=out, stderr=err)
        try:
            code = program.wait(within_s)
        except BaseException:
            program.kill()
            raise
        said = []
        for stream in (out, err):
            stream.seek(0)
            said.append(stream.read().decode())
    return Done(code, *said)


def environ(**values: str) -> dict[str, str]:
    """The environment of this test session with some names set."""
    return {**os.environ, **values}
