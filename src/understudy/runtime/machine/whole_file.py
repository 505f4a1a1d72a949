"""A file that takes everything a run says; trouble with the disk is the file's end, never the run's."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path


class WholeFile:
    """Appends; 0600. Started again, a run goes on in the same file."""

    def __init__(self, path: Path | None) -> None:
        self._fd = -1
        if path is not None:
            with contextlib.suppress(OSError):
                self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)

    def add(self, chunk: bytes) -> None:
        """The next bytes."""
        if self._fd >= 0:
            try:
                os.write(self._fd, chunk)
            except OSError:
                self.close()

    def close(self) -> None:
        """No more."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)
