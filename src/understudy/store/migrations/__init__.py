"""Numbered migrations: one SQL file a step, a copy of the store before it, newer stores refused."""

from __future__ import annotations

import contextlib
import sqlite3
from importlib.resources import files
from pathlib import Path
from shutil import disk_usage

from understudy.errors import StoreError, StoreVersionError
from understudy.private import open_private, sync_directory
from understudy.store.tables import SCHEMA_VERSION


def migrate(connection: sqlite3.Connection, path: Path | None) -> None:
    """Bring the store to SCHEMA_VERSION, each step in a transaction of its own.

    StoreVersionError if a newer understudy wrote it. Before the first step on a store that holds something,
    a copy is kept beside it; StoreError if the disk has no room for that, then nothing was changed.
    """
    found = _version(connection)
    if found > SCHEMA_VERSION:
        raise StoreVersionError(
            f"The store {path} has schema {found}, this understudy knows {SCHEMA_VERSION}: "
            "install the newer understudy again, or restore the copy that was kept before its migration"
        )
    if found == SCHEMA_VERSION:
        return
    try:
        if found > 0 and path is not None:
            _keep_copy(connection, path, found)
        for number in range(found + 1, SCHEMA_VERSION + 1):
            _step(connection, number)
    except (sqlite3.Error, OSError) as error:
        raise StoreError(f"Store unavailable: it cannot be brought to schema {SCHEMA_VERSION} ({error})") from error


def _look_for_room(connection: sqlite3.Connection, path: Path, version: int) -> None:
    """StoreError if the disk cannot take a copy of the store and as much again, for steps that rewrite all of it."""
    page, pages = (connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_size", "page_count"))
    needed, free = 2 * page * pages, disk_usage(path.parent).free
    if free < needed:
        raise StoreError(
            f"Store unavailable: to bring {path} from schema {version} to {SCHEMA_VERSION}, {_mib(needed)} must be "
            f"free on its disk and {_mib(free)} are; nothing was changed: free some of it and start again"
        )


def _mib(size_bytes: int) -> str:
    return f"{size_bytes / (1 << 20):.1f} MiB"


def _version(connection: sqlite3.Connection) -> int:
    try:
        return int(connection.execute("PRAGMA user_version").fetchone()[0])
    except sqlite3.DatabaseError as error:
        raise StoreError(f"Store unavailable: it is not an understudy store ({error})") from error


def _keep_copy(connection: sqlite3.Connection, path: Path, version: int) -> None:
    """Under its name once it is whole: who is killed meanwhile leaves nothing there that only looks like a copy."""
    target = path.with_name(f"{path.name}.schema{version}.copy")
    half = target.with_name(f"{target.name}.half")
    half.unlink(missing_ok=True)  # of a hub that was killed
    _look_for_room(connection, path, version)
    with contextlib.suppress(OSError):  # SQLite says it better
        open_private(half).close()
    try:
        with contextlib.closing(sqlite3.connect(half)) as copy:
            connection.backup(copy)
        half.replace(target)
    except BaseException:
        half.unlink(missing_ok=True)
        raise
    sync_directory(target.parent)


def _step(connection: sqlite3.Connection, number: int) -> None:
    folder = files(__package__) / "sqlite"
    (step,) = [f for f in folder.iterdir() if f.name.startswith(f"{number:04d}_")]
    script = step.read_text(encoding="utf-8")
    connection.executescript(f"BEGIN IMMEDIATE;\n{script}\nPRAGMA user_version = {number};\nCOMMIT;")
