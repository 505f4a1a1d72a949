"""SQLite as the store: WAL, synchronous FULL, one writer, readers that cannot write.

Durable means on disk: on macOS plain fsync is not, so F_FULLFSYNC is asked for (facts/queues f; the pragma
does nothing elsewhere). One process owns the file; a second hub is kept out by the lock of the data directory.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TypeVar

from understudy.errors import StoreDownError, StoreError
from understudy.store.base import Reader, Transaction
from understudy.store.migrations import migrate
from understudy.store.sqlite_rows import SqliteTransaction

T = TypeVar("T")
READERS_MAX = 4
_PRAGMAS = (
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    "PRAGMA fullfsync = 1",
    "PRAGMA checkpoint_fullfsync = 1",
    "PRAGMA foreign_keys = OFF",
    "PRAGMA busy_timeout = 5000",
    "PRAGMA cache_size = -2048",  # KiB a connection: with 1,000,000 tasks 16 MiB were no faster
    "PRAGMA wal_autocheckpoint = 4000",
    "PRAGMA journal_size_limit = 67108864",
)


class SqliteStore:
    """One SQLite file, or one in memory (`path` None) for simulations."""

    def __init__(self, path: Path | None, before_commit: Callable[[], None] | None = None) -> None:
        self._path = path
        self._before_commit = before_commit  # a fail point for crash tests
        self._writer = self._open()
        self._writing = threading.Lock()
        self._readers: SimpleQueue[sqlite3.Connection] = SimpleQueue()
        try:
            migrate(self._writer, path)
        except BaseException:
            self._writer.close()
            raise

    def _open(self) -> sqlite3.Connection:
        target = ":memory:" if self._path is None else str(self._path)
        try:
            connection = sqlite3.connect(target, isolation_level=None, check_same_thread=False, cached_statements=256)
        except sqlite3.Error as error:
            raise StoreError(f"Store unavailable: {target}: {error}") from error
        try:
            for pragma in _PRAGMAS:
                connection.execute(pragma)
        except sqlite3.Error as error:
            connection.close()
            raise StoreError(f"Store unavailable: {target}: {error}") from error
        return connection

    def transaction(self, fn: Callable[[Transaction], T]) -> T:
        """Run `fn` in one immediate transaction; committed and synced when this returns."""
        with self._writing:
            connection = self._writer
            failure: type[StoreError] = StoreDownError
            try:
                connection.execute("BEGIN IMMEDIATE")
                failure = StoreError
                answer = fn(SqliteTransaction(connection))
                failure = StoreDownError
                if self._before_commit is not None:
                    self._before_commit()
                connection.execute("COMMIT")
            except sqlite3.Error as error:
                self._roll_back()
                raise failure(f"Store unavailable: {error}") from error
            except BaseException:
                self._roll_back()
                raise
            return answer

    def _roll_back(self) -> None:
        try:
            if self._writer.in_transaction:
                self._writer.execute("ROLLBACK")
        except sqlite3.Error:
            self._writer.close()
            self._writer = self._open()

    def read(self, fn: Callable[[Reader], T]) -> T:
        """Run `fn` on a snapshot; in memory there is one connection, so the writer lends it."""
        if self._path is None:
            with self._writing:
                return fn(SqliteTransaction(self._writer))
        connection = self._reader()
        try:
            connection.execute("BEGIN")
            return fn(SqliteTransaction(connection))
        except sqlite3.Error as error:
            raise StoreError(f"Store unavailable: {error}") from error
        finally:
            self._give_back(connection)

    def _reader(self) -> sqlite3.Connection:
        try:
            return self._readers.get_nowait()
        except Empty:
            connection = self._open()
            connection.execute("PRAGMA query_only = 1")
            connection.execute("PRAGMA cache_size = -512")
            return connection

    def _give_back(self, connection: sqlite3.Connection) -> None:
        try:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        except sqlite3.Error:
            connection.close()
            return
        if self._readers.qsize() < READERS_MAX:
            self._readers.put(connection)
        else:
            connection.close()

    def close(self) -> None:
        """Close every connection; the WAL is folded into the file."""
        with self._writing:
            while True:
                try:
                    self._readers.get_nowait().close()
                except Empty:
                    break
            self._writer.close()
