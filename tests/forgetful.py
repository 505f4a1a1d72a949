"""A disk that nothing waits for: what a test writes outlives its process, and need not outlive the machine.

Stores commit without fsync, and files are replaced without it: the suite would wait minutes for the disk. That
commits ask for it is held by `tests/store/test_sqlite.py` with the store's own pragmas, `SYNCED`. Where time is
measured (`TESTS_TIMED`, as `make soak` sets it), the disk is as it is.
"""

from __future__ import annotations

import os

from understudy.store import sqlite, sqlite_alone

SYNCED = sqlite.SqliteStore.pragmas


def forget() -> None:
    """For the rest of this process."""
    if os.environ.get("TESTS_TIMED") == "1":
        return
    for store in (sqlite.SqliteStore, sqlite_alone.LoneSqliteStore):
        store.pragmas = (*store.pragmas, "PRAGMA synchronous = OFF")
    os.fsync = os.fstat  # type: ignore[assignment]  # refuses what is no open file, as fsync does
