"""A SQLite file that this process has for itself: no hub, running or starting, gets at it meanwhile."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from understudy.errors import StoreError
from understudy.store.base import Reader
from understudy.store.sqlite import SqliteStore
from understudy.store.sqlite_rows import SqliteTransaction

T = TypeVar("T")
WAIT_MS = 300  # for others to let go of the file: a hub does not


class StoreInUseError(StoreError):
    """Another process has the store open; an idle hub has it open too."""


class LoneSqliteStore(SqliteStore):
    """One connection that holds SQLite's own lock on the file from beginning to end.

    A process that uses the log (WAL) of a file holds a shared lock on the file as long as it has it open; the exclusive
    one is given only when there is none.
    """

    pragmas = (f"PRAGMA busy_timeout = {WAIT_MS}", "PRAGMA locking_mode = EXCLUSIVE", *SqliteStore.pragmas)

    def __init__(self, path: Path) -> None:
        try:
            super().__init__(path)
        except StoreError as error:
            if "database is locked" in str(error):
                raise StoreInUseError(f"{path} is in use by another process: stop the hub that uses it") from error
            raise

    def read(self, fn: Callable[[Reader], T], within_ms: int = 0) -> T:
        """Run `fn` on the only connection."""
        with self._writing:
            self._refuse_if_lost()
            try:
                self._writer.execute("BEGIN")
                try:
                    return SqliteTransaction(self._writer, self._unreadable, self._last_room).answer(fn)
                finally:
                    self._writer.execute("ROLLBACK")
            except sqlite3.Error as error:
                self._heed(error)
                raise StoreError(f"Store unavailable: {error}") from error
