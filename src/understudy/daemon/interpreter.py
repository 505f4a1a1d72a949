"""The files that a script needs to start: itself, and the interpreter that it names."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

HEAD_BYTES = 4_096
SHELL = "/bin/sh"


def missing_part(script: Path) -> Path | None:
    """The file without which it does not start: the script or its interpreter; None if both are there."""
    if not script.exists():
        return script
    interpreter = _interpreter_of(script)
    return interpreter if interpreter is not None and not interpreter.exists() else None


def _interpreter_of(script: Path) -> Path | None:
    """From its first line, or from the `exec` of ours; pip writes one as well where no first line can hold the path."""
    try:
        with script.open("rb") as file:
            first, _, rest = os.fsdecode(file.read(HEAD_BYTES)).partition("\n")
        words = shlex.split(first[2:]) if first.startswith("#!") else []
        if words == [SHELL]:
            started = shlex.split(rest.partition("\n")[0])
            words = started[1:] if started[:1] == ["exec"] else words
    except (OSError, ValueError):
        return None
    found = Path(words[0]) if words else None
    return found if found is not None and found.is_absolute() else None
