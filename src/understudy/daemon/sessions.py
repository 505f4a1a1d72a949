"""The sessions of conversations on disk: which one to resume survives a restart; losing the file costs context only."""

from __future__ import annotations

import contextlib
import threading
from pathlib import Path

import msgspec

from understudy.private import write_durably
from understudy.wire.foreign_json import parsed
from understudy.worker.executors import AssistantSession

FILE_BYTES_MAX = 8 << 20


class SessionFile:
    """One small JSON file, written whole."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._saving = threading.Lock()
        self._nth = 0

    def load(self) -> dict[str, AssistantSession]:
        """By conversation, the one used last at the end; nothing if the file cannot be read."""
        try:
            if self._path.stat().st_size > FILE_BYTES_MAX:
                return {}
            found = parsed(self._path.read_bytes(), dict[str, AssistantSession])
        except (OSError, msgspec.MsgspecError, ValueError):
            return {}
        return dict(sorted(found.items(), key=lambda item: item[1].used_at))

    def save(self, sessions: dict[str, AssistantSession], nth: int = 0) -> None:
        """Best effort: a full disk must not fail a task that is done. Threads may save at once: a later `nth` stays."""
        with self._saving, contextlib.suppress(OSError):
            if nth >= self._nth:
                self._nth = nth
                write_durably(self._path, msgspec.json.encode(sessions))
