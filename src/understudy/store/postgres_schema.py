"""Migrations of PostgreSQL: one SQL file a step, all steps in one transaction, hubs of two versions side by side.

A step only adds (expand): the hubs of the version before go on beside it, so `compatible_from` stays. What they need
is removed one version later (contract), by a step whose file begins with `-- compatible_from: N`: from then on a hub
whose SCHEMA_VERSION is below N is refused.

A step that waits for a table holds up everybody who asks for that table after it. So while somebody's long transaction
(a backup, a report) is in its way, it waits briefly, lets the hubs go on for a while, and tries again.
"""

from __future__ import annotations

import re
import time
from importlib.resources import files

import psycopg
from psycopg import IsolationLevel, errors

from understudy.errors import StoreDownError, StoreError, StoreVersionError
from understudy.store.postgres_rows import MIGRATION, VERSIONS
from understudy.store.postgres_wire import VERSION_MIN, PostgresConnection, failure
from understudy.store.tables import SCHEMA_VERSION

FIRST = 10
TABLE_WITHIN_MS = 1_500  # longer than a server's own `deadlock_timeout`, after which it takes vacuum out of the way
PAUSE_S = 3.0  # twice as long as a try: meanwhile the hubs work
TRIES_MAX = 15
_IN_THE_WAY = (errors.LockNotAvailable, errors.DeadlockDetected)
_COMPATIBLE_FROM = re.compile(r"-- compatible_from: (\d{1,9}+)")


def migrate(link: PostgresConnection) -> None:
    """Bring the store to SCHEMA_VERSION; several hubs may try at once, one does it.

    StoreVersionError if a newer understudy wrote it that does not go together with this one.
    """
    _look_at_server(link)
    try:
        version, compatible_from = _version(link)
        if version < SCHEMA_VERSION:
            version, compatible_from = _migrated(link)
    except psycopg.Error as error:
        known = failure(error, link)
        raise type(known)(f"{known.message} (to bring it to schema {SCHEMA_VERSION})") from error
    if why := misfit(version, compatible_from):
        raise StoreVersionError(why)


def misfit(version: int, compatible_from: int) -> str:
    """The reason for which this understudy does not go together with such a store; "" where it does."""
    if compatible_from > SCHEMA_VERSION:
        return (
            f"The store has schema {version}, for understudy from schema {compatible_from} on; this one knows "
            f"{SCHEMA_VERSION}: install the newer understudy again"
        )
    if version < SCHEMA_VERSION:
        return f"The store has schema {version}, this understudy needs {SCHEMA_VERSION}: its start brings it there"
    return ""


def _migrated(link: PostgresConnection) -> tuple[int, int]:
    """All steps that are missing, tried again while another transaction has their tables → the same as `_version`."""
    nth = 1
    while True:
        try:
            return _with_all_steps(link)
        except _IN_THE_WAY as error:
            if nth == TRIES_MAX:
                said = "another program's long transaction (a backup, a report) has its tables, start again after it"
                raise StoreDownError(f"Store unavailable: {said}: {error}") from error
        time.sleep(PAUSE_S)
        nth += 1


def _with_all_steps(link: PostgresConnection) -> tuple[int, int]:
    link.connection.isolation_level = IsolationLevel.READ_COMMITTED  # to see what the hub did that was waited for
    with link.connection.transaction():
        link.connection.execute("SELECT pg_advisory_xact_lock($1::int, $2::int)", MIGRATION)
        link.connection.execute(f"SET LOCAL lock_timeout = {TABLE_WITHIN_MS}".encode())
        version, compatible_from = _version(link)
        for number in range(max(version + 1, FIRST), SCHEMA_VERSION + 1):
            compatible_from = _step(link, number, compatible_from)
    return max(version, SCHEMA_VERSION), compatible_from


def version_at(conninfo: str) -> int:
    """The schema of the store there, which is left as it is; 0: there is none. StoreError."""
    try:
        link = PostgresConnection(conninfo, may_be_standby=True)
    except psycopg.Error as error:
        raise failure(error, None) from error
    try:
        return _version(link)[0]
    except psycopg.Error as error:
        raise failure(error, link) from error
    finally:
        link.close()


def _look_at_server(link: PostgresConnection) -> None:
    if link.version < VERSION_MIN:
        raise StoreError(
            f"Store unavailable: PostgreSQL {link.version // 10000} is too old, {VERSION_MIN // 10000} is the oldest"
        )
    if link.encoding != "UTF8":
        raise StoreError(f"Store unavailable: the database has the encoding {link.encoding}, make one with UTF8")


def _version(link: PostgresConnection) -> tuple[int, int]:
    """The schema that is there (0: none), and the oldest that goes together with it."""
    found = link.connection.execute("SELECT to_regclass('understudy_schema') IS NOT NULL").fetchone()
    if found != (True,):
        return 0, FIRST
    row = link.connection.execute(VERSIONS.encode()).fetchone()
    return row or (0, FIRST)


def _step(link: PostgresConnection, number: int, compatible_from: int) -> int:
    """One step, if PostgreSQL has one of this number → the oldest schema that goes together with it."""
    folder = files("understudy.store.migrations") / "postgres"
    for step in folder.iterdir():
        if step.name.startswith(f"{number:04d}_"):
            script = step.read_text(encoding="utf-8")
            said = _COMPATIBLE_FROM.match(script)
            compatible_from = int(said[1]) if said else compatible_from
            link.connection.execute(script.encode(), prepare=False)
    statement = "UPDATE understudy_schema SET version = $1, compatible_from = $2"
    link.connection.execute(statement, (number, compatible_from))
    return compatible_from
