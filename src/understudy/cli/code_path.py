"""The paths of imports and of programs, here and in what we start: never the current directory of a shell.

It runs before anything else is imported, so it imports nothing that Python has not read already.
"""

from __future__ import annotations

import os
import sys
from collections.abc import MutableMapping

NAME = "PYTHONPATH"
PROGRAMS = "PATH"


def without_current_directory() -> None:
    """Empty parts of both paths mean the current directory (`export PATH=$PATH:`): they are dropped."""
    drop_empty_programs(os.environ)
    try:
        here = os.getcwd()  # noqa: PTH109 - pathlib would be looked for there
    except OSError:  # it is gone
        return
    if drop_empty(os.environ):
        kept = [folder for folder in os.environ[NAME].split(os.pathsep) if folder]
        sys.path[:] = [folder for folder in sys.path if folder not in ("", here) or folder in kept]


def drop_empty(environ: MutableMapping[str, str]) -> bool:
    """Leave named directories only, each absolute → whether there was an empty part."""
    parts = environ.get(NAME, "").split(os.pathsep)
    if parts == [""]:
        return False
    named = [os.path.abspath(part) for part in parts if part]  # noqa: PTH100 - the same
    environ[NAME] = os.pathsep.join(named)
    return len(named) < len(parts)


def drop_empty_programs(environ: MutableMapping[str, str]) -> None:
    """Leave what is named: in a repository that somebody cloned, a daemon would start what is called `claude` there."""
    parts = environ.get(PROGRAMS, "").split(os.pathsep)
    if "" in parts and PROGRAMS in environ:
        environ[PROGRAMS] = os.pathsep.join(part for part in parts if part) or os.defpath
