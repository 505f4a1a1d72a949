"""The alarms that a daemon itself has sent to its owner and not ended yet, on disk: a later life ends them."""

from __future__ import annotations

import contextlib
import threading
from pathlib import Path

import msgspec

from understudy.private import write_durably
from understudy.wire.foreign_json import parsed

FILE_BYTES_MAX = 65_536


class OpenAlarms:
    """One small JSON file: what each open alarm is about."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._noting = threading.Lock()
        self._open = self._kept()

    def load(self) -> set[str]:
        """Those that are open."""
        return set(self._open)

    def note(self, level: str, about: str) -> None:
        """A notice of this level is sent: it begins an alarm, or ends it. A full disk hinders no notice."""
        with self._noting:
            left = self._open - {about} if level == "recovered" else self._open | {about}
            if left != self._open:
                self._open = left
                with contextlib.suppress(OSError):
                    write_durably(self._path, msgspec.json.encode(sorted(left)))

    def _kept(self) -> set[str]:
        try:
            with self._path.open("rb") as file:
                kept: set[str] = parsed(file.read(FILE_BYTES_MAX), set[str])
        except (OSError, msgspec.MsgspecError, ValueError):
            return set()
        return kept
