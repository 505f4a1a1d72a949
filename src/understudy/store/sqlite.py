"""SQLite as the store: WAL, synchronous FULL, one writer, readers that cannot write.

Durable means on disk: on macOS plain fsync is not, so F_FULLFSYNC is asked for (docs/measured.md, Disks; the pragma
does nothing elsewhere). One process owns the file; a second hub is kept out by a lock (runtime/lock.py).
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
import time
from collections.abc import Callable
from glob import escape
from math import inf
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TypeVar
from urllib.parse import quote

from understudy.errors import ConfigError, SlowReadError, StoreDownError, StoreError
from understudy.private import PlantedError, close, open_private, real_path
from understudy.store.base import Reader, Transaction, Unreadable
from understudy.store.migrations import migrate
from understudy.store.room import LastRoom
from understudy.store.row_cache import RowCache
from understudy.store.sqlite_files import StoreFiles, is_damage, rescue, rescued
from understudy.store.sqlite_rows import SqliteTransaction
from understudy.store.sqlite_search import Connection

T = TypeVar("T")
READERS_MAX = 4
WRITER_STATEMENTS, READER_STATEMENTS = 128, 32  # kept prepared by a connection: some 10 KiB each
BUSY_MS = 5_000  # how long a lock of another process is waited for: a backup, sqlite3 on the command line
STEPS_A_LOOK = 20_000  # of SQLite's machine, between two looks at the deadline of a read: about a ms
_CUT_SHORT = (sqlite3.SQLITE_INTERRUPT, sqlite3.SQLITE_ERROR)  # by SQLite's look at the deadline, by ours
_PRAGMAS = (
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    "PRAGMA fullfsync = 1",
    "PRAGMA checkpoint_fullfsync = 1",
    "PRAGMA foreign_keys = OFF",
    f"PRAGMA busy_timeout = {BUSY_MS}",
    "PRAGMA cache_size = -2048",  # KiB a connection: with 1,000,000 tasks 16 MiB were no faster
    "PRAGMA wal_autocheckpoint = 4000",
    "PRAGMA journal_size_limit = 67108864",
)
# The pages that an INSERT or UPDATE changes are kept until its end, to be undone. In a file this costs a third of a
# statement that changes many rows; in memory it has to be bounded. So each one on the writer changes a bounded number
# of rows: a part of what is saved, a purge up to its LIMIT, a jump of the clock up to MOVED_MAX (store/sqlite_rows.py).
TEMPORARY_IN_MEMORY = "PRAGMA temp_store = MEMORY"


def _close_to_others(path: Path) -> None:
    """The store is for its owner alone; SQLite gives its log and index the mode that the store has. ConfigError."""
    with contextlib.suppress(OSError):  # SQLite says it better
        try:
            open_private(path).close()
        except PlantedError as error:
            raise ConfigError(str(error)) from error
        name = escape(path.name)
        for part in (*path.parent.glob(f"{name}-*"), *path.parent.glob(f"{name}.schema*")):
            close(part)


def _refuse_to_begin_anew(path: Path) -> None:
    """An empty store in the place of one that was lost would hide what can still be had."""
    if not path.exists() and (copies := rescued(path)):
        raise StoreError(
            f"Store unavailable: {path} is missing, and {copies[-1].name} beside it holds what was in it: "
            f"mv '{copies[-1]}' '{path}' (first move {path.name}-wal and {path.name}-shm away if they are there), "
            f"or move it away to begin with an empty store"
        )


class SqliteStore:
    """One SQLite file, or one in memory (`path` None) for simulations."""

    is_shared = False
    pragmas: tuple[str, ...] = _PRAGMAS

    def __init__(self, path: Path | None, before_commit: Callable[[], None] | None = None) -> None:
        link = path
        if path is not None:
            for name in (path, real_path(path)):
                _refuse_to_begin_anew(name)
            _close_to_others(path)  # also judges a link, so before the name that it leads to is used
            path = real_path(path)  # as SQLite does: its log and index are beside the file, not beside a link to it
            if path != link:
                _close_to_others(path)
        self._path = path
        self._before_commit = before_commit  # a fail point for crash tests
        self._damage = ""  # what SQLite found wrong with the file; all is refused until a check finds it well
        self._suspected = ""
        self._files: StoreFiles | None = None
        self._unreadable = Unreadable()
        self._last_room = LastRoom()
        self._known = RowCache()
        self._writer = self._open(creates=True)
        self._busy_ms = BUSY_MS
        self._writing = threading.Lock()  # held while a transaction is open; the thread that ends it lets it go
        self._readers: SimpleQueue[Connection] = SimpleQueue()
        try:
            migrate(self._writer, path)  # before: its sorts and changes may be larger than memory
            self._writer.execute(TEMPORARY_IN_MEMORY)
            if path is not None:
                self._writer.execute("BEGIN IMMEDIATE").execute("COMMIT")  # from here on all its files are there
                self._files = StoreFiles(path, link or path)
        except BaseException:
            self._writer.close()
            raise

    def _open(self, *, creates: bool = False, statements: int = WRITER_STATEMENTS) -> Connection:
        target = ":memory:"
        if self._path is not None:
            target = f"file:{quote(str(self._path.absolute()))}?mode={'rwc' if creates else 'rw'}"
        try:
            connection = sqlite3.connect(
                target,
                isolation_level=None,
                check_same_thread=False,
                cached_statements=statements,
                uri=True,
                factory=Connection,
            )
        except sqlite3.Error as error:
            raise StoreError(f"Store unavailable: {self._path}: {error}") from error
        try:
            for pragma in self.pragmas:
                connection.execute(pragma)
        except sqlite3.Error as error:
            self._heed(error)
            connection.close()
            raise StoreError(f"Store unavailable: {self._path}: {error}") from error
        return connection

    # ---- whether it is what it was

    def trouble(self) -> str:
        """The fault for which everything is refused; "" for none. Cheap: a few looks at names."""
        return (self._files.trouble() if self._files is not None else "") or self._damage

    def look(self) -> str:
        """As `trouble`, after a look at the head of the file; a fault counts when two looks in a row find it."""
        if self._files is not None and not self._damage:
            with self._writing:  # a checkpoint of ours writes the head before the end
                found = self._files.header_trouble()
            if found and found == self._suspected:
                self._damage = found
            self._suspected = found
        return self.trouble()

    def check(self) -> str:
        """Read the whole store and take the damage back if there is none → what is wrong; "" for nothing."""
        if self._files is None or (lost := self._files.trouble()):
            return self.trouble()
        before = self._damage
        lost = self._files.header_trouble() or self._checked()
        if not lost:
            with self._writing:
                self._writer.execute("PRAGMA shrink_memory")  # pages that were read while it was not well
                self._known.clear()
                self._drop_readers()
        if lost or self._damage == before:  # else a reader met another damage meanwhile
            self._damage = lost
        return self.trouble()

    def _checked(self) -> str:
        try:
            connection = self._open()
            try:
                said = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
            finally:
                connection.close()
        except (sqlite3.Error, StoreError) as error:
            return str(error)
        return "" if said == "ok" else str(said)

    def rescue(self, now_ms: int) -> Path:
        """Save what was committed when its files are lost; OSError or StoreError if that is not possible."""
        if self._path is None:
            raise StoreError("Store unavailable: it is in memory")
        with self._writing:
            try:
                return rescue(self._writer, self._path, now_ms)
            except sqlite3.Error as error:
                raise StoreError(f"Store unavailable: {error}") from error

    def _refuse_if_lost(self) -> None:
        trouble = self.trouble()
        if trouble:
            raise StoreDownError(f"Store unavailable: {trouble}")

    def _heed(self, error: sqlite3.Error) -> None:
        if is_damage(error) and not self._damage:
            self._damage = f"{self._path} is damaged: {error}"

    def transaction(self, fn: Callable[[Transaction], T], *, alone: bool = True) -> T:
        """Run `fn` in one immediate transaction; committed and synced when this returns."""
        self._writing.acquire()
        answer = self._begun(fn, BUSY_MS)
        self.commit()
        self.confirm()
        return answer

    def prepare(self, fn: Callable[[Transaction], T]) -> T:
        """Run `fn` in an immediate transaction that `commit` ends; StoreDownError where it would have to wait."""
        if not self._writing.acquire(blocking=False):
            raise StoreDownError("Store unavailable: another transaction is open")
        return self._begun(fn, busy_ms=0)

    def _begun(self, fn: Callable[[Transaction], T], busy_ms: int) -> T:
        failure: type[StoreError] = StoreDownError
        try:
            self._refuse_if_lost()
            self._wait_for_others(busy_ms)
            self._writer.execute("BEGIN IMMEDIATE")
            failure = StoreError
            self._known.begin(self._writer)
            return fn(SqliteTransaction(self._writer, self._unreadable, self._last_room, self._known))
        except sqlite3.Error as error:
            self._undo(error)
            raise failure(f"Store unavailable: {error}") from error
        except BaseException:
            self._undo()
            raise

    def commit(self) -> None:
        """End the open transaction; committed and synced when this returns."""
        try:
            if self._before_commit is not None:
                self._before_commit()
            self._writer.execute("COMMIT")
        except sqlite3.Error as error:
            self._undo(error)
            raise StoreDownError(f"Store unavailable: {error}") from error
        except BaseException:
            self._undo()
            raise
        self._writing.release()

    def confirm(self) -> None:
        """Raise StoreDownError for a commit to files that no name leads to; a log that was cut shows only before."""
        if self._damage or (self._files is not None and self._files.name_trouble()):
            self._refuse_if_lost()

    def _undo(self, error: sqlite3.Error | None = None) -> None:
        """End the transaction that failed and let go of the lock."""
        self._known.clear()
        try:
            if error is not None:
                self._heed(error)
            self._roll_back()
        finally:
            self._writing.release()

    def _wait_for_others(self, busy_ms: int) -> None:
        if self._busy_ms != busy_ms:
            self._writer.execute(f"PRAGMA busy_timeout = {busy_ms}")
            self._busy_ms = busy_ms

    def _roll_back(self) -> None:
        try:
            if self._writer.in_transaction:
                self._writer.execute("ROLLBACK")
        except sqlite3.Error:
            broken, self._writer = self._writer, self._open()  # in this order: the last to close removes WAL and index
            self._writer.execute(TEMPORARY_IN_MEMORY)
            self._busy_ms = BUSY_MS
            broken.close()

    def read(self, fn: Callable[[Reader], T], within_ms: int = 0) -> T:
        """Run `fn` on a snapshot; in memory there is one connection, so the writer lends it."""
        if self._path is None:
            with self._writing:
                return fn(SqliteTransaction(self._writer, self._unreadable, self._last_room))
        self._refuse_if_lost()
        connection = self._reader()
        try:
            if within_ms:
                connection.deadline.until_s = time.monotonic() + within_ms / 1000
                connection.set_progress_handler(connection.deadline.is_over, STEPS_A_LOOK)
            connection.execute("BEGIN")
            return SqliteTransaction(connection, self._unreadable, self._last_room).answer(fn)
        except sqlite3.Error as error:
            self._heed(error)
            if connection.deadline.is_over() and getattr(error, "sqlite_errorcode", 0) in _CUT_SHORT:
                raise SlowReadError from error
            raise StoreError(f"Store unavailable: {error}") from error
        finally:
            connection.deadline.until_s = inf
            connection.set_progress_handler(None, 0)
            self._give_back(connection)

    def _reader(self) -> Connection:
        try:
            return self._readers.get_nowait()
        except Empty:
            connection = self._open(statements=READER_STATEMENTS)
            connection.execute("PRAGMA query_only = 1")
            connection.execute("PRAGMA cache_size = -512")
            return connection

    def _give_back(self, connection: Connection) -> None:
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
        """Close every connection; the WAL is folded into the file, or put aside if another file has its name."""
        with self._writing:
            self._drop_readers()
            self._writer.close()
            if self._files is None:
                return
            try:
                self._files.put_log_aside()
            except OSError as error:
                raise StoreError(f"The log of {self._path} is of another store; move it away: {error}") from error
            finally:
                self._files.close()

    def _drop_readers(self) -> None:
        while True:
            try:
                self._readers.get_nowait().close()
            except Empty:
                return
