"""A file that takes everything a run says; trouble with the disk is the file's end, never the run's."""

from __future__ import annotations

import contextlib
import os
import threading
from pathlib import Path

from understudy.private import open_ours


class WholeFile:
    """Appends, from one thread; another one may close it. 0600. Started again, a run goes on in the same file."""

    def __init__(self, path: Path | None) -> None:
        self._fd = -1
        self._turn = threading.Lock()  # never held while the disk is waited for
        self._is_writing = self._is_over = False
        if path is not None:
            with contextlib.suppress(OSError):
                self._fd = open_ours(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def add(self, chunk: bytes) -> None:
        """The next bytes."""
        with self._turn:
            if self._fd < 0:
                return
            self._is_writing = True
        try:
            os.write(self._fd, chunk)
        except OSError:
            self._is_over = True
        with self._turn:
            self._is_writing = False
            self._close_if_over()

    def close(self) -> None:
        """No more. What is being written is: closed meanwhile, its number could be that of another file by then."""
        with self._turn:
            self._is_over = True
            self._close_if_over()

    def _close_if_over(self) -> None:
        if self._is_over and not self._is_writing and self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
