"""Standard streams as a shell may hand them over: closed, or in an encoding that lacks our characters."""

from __future__ import annotations

import os
import sys

NAMES = ("stdin", "stdout", "stderr")


def open_streams() -> tuple[str, ...]:
    """Give a closed stream a place that takes everything and holds nothing → the names of those that were closed.

    Else the next file that is opened gets its number, and what is printed is written into the store.
    """
    closed = tuple(name for number, name in enumerate(NAMES) if not _is_open(number))
    for name in closed:
        number = NAMES.index(name)
        fd = os.open(os.devnull, os.O_RDWR)
        if fd != number:
            os.dup2(fd, number)
            os.close(fd)
        os.set_inheritable(number, True)  # noqa: FBT003 - the standard library's signature
        setattr(sys, name, open(number, "w" if number else "r", encoding="utf-8", closefd=False))  # noqa: SIM115
    return closed


def show_what_can_be_shown() -> None:
    """A character that the terminal's encoding lacks becomes `?`: nothing ends because of a tick."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True
