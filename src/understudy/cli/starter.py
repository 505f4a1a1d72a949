"""Ends this process in order when its starter is gone, even by SIGKILL: the starter's end of our stdin closes then."""

from __future__ import annotations

import os
import signal
import sys
import threading

READ_BYTES = 4096


def watch() -> None:
    """From now on the end of stdin is a SIGTERM."""
    threading.Thread(target=_wait, args=(sys.stdin.fileno(),), name="parent", daemon=True).start()


def _wait(fd: int) -> None:
    try:
        while os.read(fd, READ_BYTES):
            pass
    except OSError:
        pass  # a closed stdin is an ended one
    os.kill(os.getpid(), signal.SIGTERM)
