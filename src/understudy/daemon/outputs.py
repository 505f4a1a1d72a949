"""The whole output of runs, one file each, for readers who need more than head and tail; the oldest are removed."""

from __future__ import annotations

import contextlib
from pathlib import Path

from understudy.daemon.home import aged_files
from understudy.private import own_directory

FILES_MAX = 200
BYTES_MAX = 1 << 30  # in all, before a new one is begun
SUFFIX = ".out"


class Outputs:
    """A directory of `<run id>.out`."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        with contextlib.suppress(OSError):  # without it, only the copy of the whole output is missing
            own_directory(directory)

    def begin(self, run_id: str) -> Path:
        """The file of this run's output; makes room for it."""
        with contextlib.suppress(OSError):
            self._make_room()
        return self._directory / f"{run_id}{SUFFIX}"

    def _make_room(self) -> None:
        aged = sorted(aged_files(self._directory.glob(f"*{SUFFIX}")), key=lambda found: found[0].st_mtime)
        total = sum(stat.st_size for stat, _ in aged)
        while aged and (len(aged) >= FILES_MAX or total > BYTES_MAX):
            stat, oldest = aged.pop(0)
            with contextlib.suppress(OSError):  # one that cannot be removed keeps no other
                oldest.unlink(missing_ok=True)
            total -= stat.st_size
