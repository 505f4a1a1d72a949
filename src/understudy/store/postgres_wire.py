"""Connections to PostgreSQL: how values travel, how a connection is made, and whose fault an error is."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Collection
from contextlib import suppress
from functools import lru_cache
from typing import Any

import psycopg
from psycopg import errors
from psycopg.abc import Buffer
from psycopg.adapt import AdaptersMap, Loader
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.errors import Diagnostic
from psycopg.types.numeric import Int8BinaryDumper
from psycopg.types.string import StrDumperUnknown

from understudy.errors import StoreDownError, StoreError
from understudy.store.postgres_pipeline import NUL_SHOWN, Pipeline, Statement

VERSION_MIN = 140000  # the oldest that the project of PostgreSQL itself still cared for in 2026
CONNECT_WITHIN_S = 5
WARNINGS_MAX = 10  # kept of a connection
UNSEEN_WITHIN_MS = 10_000  # what was sent and is not confirmed by then: the other side is gone
DEFAULTS = {
    "connect_timeout": str(CONNECT_WITHIN_S),
    "keepalives_idle": "5",
    "keepalives_interval": "2",
    "keepalives_count": "3",
    "tcp_user_timeout": str(UNSEEN_WITHIN_MS),
}
Connection = psycopg.Connection[tuple[Any, ...]]


class _Text(StrDumperUnknown):
    """Any text; where it stands decides its type."""

    def dump(self, obj: str) -> Buffer | None:
        return super().dump(obj.replace("\0", NUL_SHOWN) if "\0" in obj else obj)


class _Whole(Loader):
    """Sums of BIGINT are NUMERIC; ours are whole."""

    def load(self, data: Buffer) -> int:
        return int(float(bytes(data))) if b"." in bytes(data) else int(bytes(data))


def _adapters() -> AdaptersMap:
    found = AdaptersMap(psycopg.adapters)
    for whole in (int, bool):  # a flag is a number, as in SQLite
        found.register_dumper(whole, Int8BinaryDumper)
    found.register_dumper(str, _Text)
    found.register_loader("numeric", _Whole)
    return found


ADAPTERS = _adapters()


def array(values: Collection[Any]) -> str:
    """A collection of texts, numbers or bytes as PostgreSQL writes an array: one value of a statement."""
    first = next(iter(values), None)
    if isinstance(first, str):
        return _texts(values)
    if isinstance(first, bytes):
        return _texts([f"\\x{value.hex()}" for value in values])
    return "{" + ",".join([f"{value:d}" for value in values]) + "}"


def _texts(values: Collection[str]) -> str:
    together = '","'.join(values)
    if "\\" in together or together.count('"') > 2 * (len(values) - 1):  # beside those that part them
        together = '","'.join([value.replace("\\", "\\\\").replace('"', '\\"') for value in values])
    return '{"' + together + '"}'


_PLACE = re.compile(r"\?")


@lru_cache(2048)
def numbered(statement: str) -> str:
    """The places of a statement as PostgreSQL counts them: `$1`, `$2`."""
    count = 0

    def place(_: re.Match[str]) -> str:
        nonlocal count
        count += 1
        return f"${count}"

    return _PLACE.sub(place, statement)


def address(url: str, name: str) -> str:
    """The address with what it does not say itself: patience, and the name that the server shows."""
    given: dict[str, Any] = {"application_name": f"understudy-{name}", **DEFAULTS, **conninfo_to_dict(url)}
    return make_conninfo(**given)


_GREETING = (
    "SELECT pg_backend_pid(), current_setting('synchronous_commit'), current_setting('server_version_num'),"
    " current_setting('server_encoding'), extract(epoch FROM pg_postmaster_start_time())::text, pg_is_in_recovery()"
)


def _never() -> bool:
    return False


def _own_number(connection: Connection) -> int:
    """The number of the server's process, as the other side said it when it was greeted."""
    return connection.info.backend_pid


class PostgresConnection:
    """One open connection, and what was found out about its other side."""

    def __init__(self, conninfo: str, *, may_be_standby: bool = False) -> None:
        """Connect. psycopg.Error where that is not possible."""
        self._may_be_standby = may_be_standby
        self.place = conninfo
        self.generation = 0  # of its store's connections
        self.connection: Connection = psycopg.connect(
            conninfo,
            client_encoding="UTF8",  # whatever the address says: texts travel as that (`Pipeline`)
            autocommit=True,
            context=ADAPTERS,
            cursor_factory=psycopg.RawCursor[tuple[Any, ...]],
        )
        self.warnings: list[str] = []  # of the server, since somebody has emptied it; the last ones
        self.connection.add_notice_handler(self._note)
        self.pipeline = Pipeline(self.connection, prepares=False)
        self.pipeline.is_worth_waiting = _never  # until its user says otherwise: it must answer at once
        try:
            pid, commits, version, self.encoding, started = self._greeted()
        except BaseException:
            self.connection.close()
            raise
        self.version = int(version)
        self.server = conninfo, started  # one name may lead to another server later
        # a pooler answers with a number of its own, and gives each transaction another connection behind it
        self.is_pooled = pid != _own_number(self.connection)
        self.commits = "on" if commits == "off" else commits  # said by us: a server that reloads must not lower it
        self.connection.prepare_threshold = None
        self.pipeline.prepares = not self.is_pooled

    def _greeted(self) -> tuple[Any, ...]:
        """The facts that a server gives about itself; a hub refuses a standby, whose answers may be of the past."""
        ((*facts, is_standby),) = self.ask(Statement(_GREETING))
        if is_standby and not self._may_be_standby:
            raise errors.ReadOnlySqlTransaction(f"{self.connection.info.host} is a standby")
        return tuple(facts)

    def ask(self, *statements: Statement) -> list[Any]:
        """The rows of the last of these, which travel together; psycopg.Error where one fails or no answer comes."""
        results, failed = self.pipeline.run(statements)
        if failed is not None:
            raise failed
        return self.pipeline.rows(results[-1])

    def _note(self, diagnostic: Diagnostic) -> None:
        if diagnostic.severity_nonlocalized == "WARNING":
            self.warnings = [*self.warnings[1 - WARNINGS_MAX :], str(diagnostic.message_primary)]

    @property
    def is_lost(self) -> bool:
        """True if nothing can be asked any more."""
        return self.connection.closed

    def close(self) -> None:
        """Let it go."""
        self.connection.close()

    def cut(self) -> None:
        """End it from another thread than the one that waits for an answer there."""
        with suppress(OSError, psycopg.Error), socket.socket(fileno=os.dup(self.connection.fileno())) as line:
            line.shutdown(socket.SHUT_RDWR)


_DOWN = (
    errors.ReadOnlySqlTransaction,  # a server that is no longer, or not yet, the one that writes
    errors.InsufficientResources,
    errors.OperatorIntervention,
    errors.SystemError,
    errors.IdleInTransactionSessionTimeout,
    errors.LockNotAvailable,
)
UNPREPARED = (errors.InvalidSqlStatementName, errors.DuplicatePreparedStatement)
AGAIN = (errors.DeadlockDetected, errors.SerializationFailure, *UNPREPARED)


def failure(error: psycopg.Error, link: PostgresConnection | None) -> StoreError:
    """Ours for an error of the database: StoreDownError if other requests of the time would fail as well."""
    is_down = link is None or link.is_lost or isinstance(error, _DOWN)
    is_down = is_down and not isinstance(error, errors.QueryCanceled)
    said = " ".join(str(error).split())
    return (StoreDownError if is_down else StoreError)(f"Store unavailable: {said}")
