"""A program's own copy of its log, for `LOG_DIR`: bounded, and no disk that refuses or hangs stops the program."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import Any

from understudy.line_queue import LineQueue
from understudy.private import PlantedError, is_planted, make_directory, open_private

BYTES_MAX = 10 << 20  # then it becomes `.1`


class LogFile:
    """Opened for each line, so that moving the file away moves all of it. It counts lines that could not be written."""

    def __init__(self, directory: Path, role: str = "daemon") -> None:
        self._path = directory / f"{role}.log"
        with contextlib.suppress(OSError):
            make_directory(directory)
        self.queue = LineQueue(self._append)

    def write(self, text: str, /) -> None:
        """As a stream does it."""
        self.queue.put(text.encode("utf-8", "replace"))

    def flush(self) -> None:
        """Nothing is held back."""

    def refusal(self) -> str:
        """The sentence that says why nothing will be written, because somebody else may have put the file there; "".

        Only the queue opens the file: that may take as long as it likes.
        """
        return str(PlantedError(self._path)) if is_planted(self._path) else ""

    def _append(self, text: bytes) -> None:
        """OSError if the disk refuses."""
        if self._path.exists() and self._path.stat().st_size > BYTES_MAX:
            self._path.replace(self._path.with_name(f"{self._path.name}.1"))
        with open_private(self._path) as file:
            file.write(text)


def log_places(directory: str, role: str, *, is_on_stderr: bool) -> dict[str, Any]:
    """The streams of a log: stderr, a file, or both. A file that is refused is named on stderr, which gets the log."""
    if not directory:
        return {}
    file = LogFile(Path(directory).expanduser().absolute(), role)
    if refusal := file.refusal():
        sys.stderr.write(f"{refusal}\n")
    return {"copy": file} if is_on_stderr or refusal else {"stream": file}
