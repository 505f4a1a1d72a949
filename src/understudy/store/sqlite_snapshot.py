"""A SQLite store as it is at one moment: read only, never migrated, also while a hub is using it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

from understudy.errors import StoreError, StoreVersionError
from understudy.store.base import Reader, Unreadable
from understudy.store.sqlite_rows import SqliteTransaction
from understudy.store.tables import SCHEMA_VERSION

T = TypeVar("T")
BUSY_MS = 5_000  # another process may hold the file alone for a moment


class SqliteSnapshot:
    """One file, or a copy of one. A reader of the log (WAL) holds up nobody who writes; the log grows meanwhile."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._db = _opened(path)
            self.version = int(self._db.execute("PRAGMA user_version").fetchone()[0])
        except sqlite3.Error as error:
            raise StoreError(f"Store unavailable: {path}: {error}") from error
        if self.version != SCHEMA_VERSION:
            self._db.close()
            raise StoreVersionError(
                f"The store {path} has schema {self.version}, this understudy knows {SCHEMA_VERSION}: "
                "use the understudy that wrote it, or start a hub of this version on it once"
            )

    def read(self, fn: Callable[[Reader], T]) -> T:
        """Run `fn` on the store as it is now; what others commit meanwhile is not seen."""
        try:
            self._db.execute("BEGIN")
            try:
                return SqliteTransaction(self._db, Unreadable()).answer(fn)
            finally:
                self._db.execute("ROLLBACK")
        except sqlite3.Error as error:
            raise StoreError(f"Store unavailable: {self._path}: {error}") from error

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()


def _opened(path: Path) -> sqlite3.Connection:
    """A connection that has read something; sqlite3.Error if nothing can be read."""
    try:
        return _connected(path, "mode=ro")
    except sqlite3.OperationalError:
        log = path.with_name(f"{path.name}-wal")
        if log.exists() and log.stat().st_size:
            raise
        return _connected(path, "mode=ro&immutable=1")  # a copy in a directory where no log can be made


def _connected(path: Path, how: str) -> sqlite3.Connection:
    target = f"file:{quote(str(path.absolute()))}?{how}"
    connection = sqlite3.connect(target, isolation_level=None, uri=True)
    try:
        connection.execute(f"PRAGMA busy_timeout = {BUSY_MS}")
        connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    except sqlite3.Error:
        connection.close()
        raise
    return connection
