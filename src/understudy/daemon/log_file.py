"""A program's own copy of its log, for `LOG_DIR`: bounded, and gone without a word if the disk refuses."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

from understudy.private import make_directory, open_private

BYTES_MAX = 10 << 20  # then it becomes `.1`


class LogFile:
    """One line at a time, opened for each: whoever moves the file away moves all of it."""

    def __init__(self, directory: Path, role: str = "daemon") -> None:
        self._path = directory / f"{role}.log"
        with contextlib.suppress(OSError):
            make_directory(directory)

    def add(self, line: str) -> None:
        """One line that was said."""
        self.write(f"{line}\n")

    def write(self, text: str, /) -> None:
        """As a stream does it."""
        with contextlib.suppress(OSError):
            if self._path.exists() and self._path.stat().st_size > BYTES_MAX:
                self._path.replace(self._path.with_name(f"{self._path.name}.1"))
            with open_private(self._path) as file:
                file.write(text.encode("utf-8", "replace"))

    def flush(self) -> None:
        """Nothing is held back."""


def log_places(directory: str, role: str, *, is_on_stderr: bool) -> dict[str, Any]:
    """Where a log goes: to stderr, to a file, or to both."""
    if not directory:
        return {}
    file = LogFile(Path(directory), role)
    return {"listener": file.add} if is_on_stderr else {"stream": file}
