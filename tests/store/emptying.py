"""One database for many tests: emptied, which is some 20 times as fast as a new one."""

from __future__ import annotations

from contextlib import closing

import psycopg

from understudy.store.tables import TABLES

AS_NEW = "INSERT INTO hearing VALUES (1, 0, 0, 0, 1, 0, 0); ALTER SEQUENCE event_id RESTART;"


def empty(url: str) -> None:
    """Leave nothing but the schema, and what it begins with."""
    names = {"event", *(table.name for table in TABLES.values())}
    with closing(psycopg.connect(url)) as connection, connection:
        connection.execute("".join(f"DELETE FROM {name};" for name in names) + AS_NEW)
