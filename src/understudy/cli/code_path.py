"""Where Python looks for code, here and in what we start: never in whatever directory a shell happens to be in."""

from __future__ import annotations

import os
import sys
from collections.abc import MutableMapping
from pathlib import Path

NAME = "PYTHONPATH"


def without_current_directory() -> None:
    """Empty parts of PYTHONPATH mean the current directory (`export PYTHONPATH=$PYTHONPATH:/x`): they are dropped."""
    if drop_empty(os.environ):
        here = str(Path.cwd())
        kept = os.environ.get(NAME, "").split(os.pathsep)
        sys.path[:] = [folder for folder in sys.path if folder not in ("", here) or folder in kept]


def drop_empty(environ: MutableMapping[str, str]) -> bool:
    """Leave named directories only, each absolute → whether there was an empty part."""
    parts = environ.get(NAME, "").split(os.pathsep)
    if parts == [""]:
        return False
    named = [str(Path(part).absolute()) for part in parts if part]
    environ[NAME] = os.pathsep.join(named)
    return len(named) < len(parts)
