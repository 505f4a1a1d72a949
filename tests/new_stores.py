"""A new SQLite store is a copy of one that was migrated once a process; tests/store tries the migrations themselves."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

from understudy.store import migrations
from understudy.store.tables import SCHEMA_VERSION


def copying(ready: sqlite3.Connection) -> Callable[[sqlite3.Connection, Path | None], None]:
    """A function for the place of `migrate`; `ready` is an empty database, and becomes the one that is copied."""
    migrations.migrate(ready, None)

    def copy_or_migrate(connection: sqlite3.Connection, path: Path | None) -> None:
        is_new = (
            migrations.SCHEMA_VERSION == SCHEMA_VERSION
            and not migrations._version(connection)
            and not connection.execute("PRAGMA schema_version").fetchone()[0]
        )
        ready.backup(connection) if is_new else migrations.migrate(connection, path)

    return copy_or_migrate
