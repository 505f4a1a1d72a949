"""Stores of SQLite as hubs of earlier schemas leave them."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from understudy.store import migrations


@contextmanager
def store_of_schema(version: int, path: Path) -> Iterator[sqlite3.Connection]:
    """A new store of that schema at this path, open to be filled."""
    with closing(sqlite3.connect(path)) as db, db, pytest.MonkeyPatch.context() as old:
        old.setattr(migrations, "SCHEMA_VERSION", version)
        migrations.migrate(db, None)
        yield db


def add_row(db: sqlite3.Connection, table: str, **values: Any) -> None:
    """A row with these values, and with 0 or an empty text in every other column."""
    columns = [row[1:3] for row in db.execute(f"PRAGMA table_info({table})")]
    row = [values.get(name, 0 if kind == "INTEGER" else "") for name, kind in columns]
    db.execute(f"INSERT INTO {table} VALUES ({', '.join('?' * len(row))})", row)
