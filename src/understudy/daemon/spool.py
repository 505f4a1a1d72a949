"""Results on disk until the hub has them: one JSON file each, bounded; those that it did not take stay as evidence."""

from __future__ import annotations

import contextlib
from pathlib import Path

import msgspec

from understudy.daemon.home import Home, aged_files
from understudy.private import sync_directory, write_durably
from understudy.wire.foreign_json import parsed
from understudy.worker.results import RunResult

FILES_MAX = 1_000
BYTES_MAX = 512 << 20
EVIDENCE_MAX = 200
EVIDENCE_BYTES_MAX = 256 << 20
SUFFIX = ".json"


def sizes_in(directory: Path) -> list[int]:
    """The sizes of its files, without those that another loop removes in the meantime."""
    return [stat.st_size for stat, _ in aged_files(directory.glob(f"*{SUFFIX}"))]


class SpoolFullError(OSError):
    """More results are waiting than may be kept."""


class Spool:
    """Durable: what `keep` returned from is there after any crash."""

    def __init__(self, home: Home) -> None:
        self._dir = home.spool
        self._evidence = home.evidence
        with contextlib.suppress(OSError):  # this machine cannot look: no reason not to start
            for leftover in self._dir.glob(".*"):
                with contextlib.suppress(OSError):
                    leftover.unlink(missing_ok=True)

    def load(self) -> tuple[RunResult, ...]:
        """All that is waiting, oldest first. A file that holds no result becomes evidence."""
        results = []
        for path in self._dir.glob(f"*{SUFFIX}"):
            try:
                results.append(parsed(path.read_bytes(), RunResult))
            except OSError:
                continue  # of this machine, at this moment: it stays where it is, for the next life
            except (msgspec.MsgspecError, ValueError):
                with contextlib.suppress(OSError):
                    path.replace(self._evidence / f"{path.name}.unreadable")
        return tuple(sorted(results, key=lambda result: (result.finished_at, result.name)))

    def keep(self, result: RunResult) -> None:
        """Put it on disk; OSError if that is not possible."""
        content = msgspec.json.encode(result)
        sizes = sizes_in(self._dir)
        if len(sizes) >= FILES_MAX or sum(sizes) + len(content) > BYTES_MAX:
            raise SpoolFullError(f"the spool {self._dir} is full")
        write_durably(self._path(result.name), content)

    def forget(self, name: str) -> None:
        """The hub has it."""
        with contextlib.suppress(OSError):
            self._path(name).unlink(missing_ok=True)
            sync_directory(self._dir)

    def shelve(self, result: RunResult, reason: str) -> None:
        """Nobody takes it any more: evidence, the newest of it, best effort."""
        entry = {"reason": reason, "result": result}
        with contextlib.suppress(OSError):
            write_durably(self._evidence / f"{result.name}{SUFFIX}", msgspec.json.encode(entry))
        with contextlib.suppress(OSError):
            self._make_room()

    def _make_room(self) -> None:
        """The oldest evidence gives way."""
        room = EVIDENCE_BYTES_MAX
        newest_first = sorted(aged_files(self._evidence.iterdir()), key=lambda found: found[0].st_mtime, reverse=True)
        for nth, (stat, path) in enumerate(newest_first):
            room -= stat.st_size
            if nth >= EVIDENCE_MAX or room < 0:
                with contextlib.suppress(OSError):  # one that cannot be removed keeps no other
                    path.unlink(missing_ok=True)

    def _path(self, name: str) -> Path:
        return self._dir / f"{name}{SUFFIX}"
