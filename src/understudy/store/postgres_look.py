"""The faults that keep a hub from working on a PostgreSQL database, each with its fix; for a start and `doctor`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import psycopg
from msgspec import Struct
from psycopg.conninfo import make_conninfo
from psycopg.rows import class_row

from understudy.clock import Clock
from understudy.spans import span
from understudy.store.postgres_rows import VERSIONS
from understudy.store.postgres_wire import VERSION_MIN
from understudy.store.postgres_wire import address as patient
from understudy.store.tables import SCHEMA_VERSION, TABLES
from understudy.store_address import has_parameter, has_several_hosts
from understudy.texts import t

CLOCK_OFF_MS_MAX = 2_000
POOLED_TRIES = 20
SAID_CHARS_MAX = 300
NOTICES = frozenset({"clock", "pooler", "old_schema"})  # a hub works with them
PASSING = frozenset({"unreachable", "starting", "crowded", "standby", "read_only"})  # another time it may be well
# What libpq and servers say when no connection comes about; there is no code of it. The first that fits.
_SAID = (
    ("parameter", ("invalid sslmode", "invalid port", "invalid integer", "invalid connection option", "invalid value")),
    ("password", ("password authentication failed", "no password supplied", "SCRAM", "SASL")),
    ("database", ('FATAL: database "',)),
    ("refused", ('FATAL: role "', "no pg_hba.conf entry", "not permitted to log in", "permission denied")),
    ("crowded", ("too many clients", "too many connections", "remaining connection slots")),
    ("starting", ("the database system is ",)),
    ("standby", ("session is read-only", "server is in hot standby")),
    ("tls", ("SSL", "TLS", "certificate")),
)


class _Facts(NamedTuple):
    """The facts that the server gives about itself."""

    version: int
    is_standby: bool
    is_read_only: bool
    encoding: str
    schema: str
    may_create: bool
    has_store: bool
    now_ms: int


_FACTS = """
SELECT current_setting('server_version_num')::int AS version, pg_is_in_recovery() AS is_standby,
  current_setting('default_transaction_read_only') = 'on' AS is_read_only,
  current_setting('server_encoding') AS encoding, coalesce(current_schema(), '') AS schema,
  coalesce(has_schema_privilege(current_schema(), 'CREATE'), false) AS may_create,
  to_regclass('understudy_schema') IS NOT NULL AS has_store,
  (extract(epoch FROM clock_timestamp()) * 1000)::bigint AS now_ms
"""
RELATIONS = ("understudy_schema", "event", "event_id", "daemon_count", *(table.name for table in TABLES.values()))
_FORBIDDEN = """
SELECT relname, relkind = 'S' FROM pg_class WHERE oid = ANY(SELECT to_regclass(name) FROM unnest(%s::text[]) AS a(name))
  AND NOT CASE WHEN relkind = 'S'
    THEN has_sequence_privilege(oid, 'SELECT') AND has_sequence_privilege(oid, 'USAGE')
    ELSE has_table_privilege(oid, 'SELECT') AND has_table_privilege(oid, 'INSERT')
      AND has_table_privilege(oid, 'UPDATE') AND has_table_privilege(oid, 'DELETE') END
  ORDER BY relname LIMIT 1
"""


class PostgresFault(Struct, frozen=True):
    """One thing that is wrong; its texts are `postgres.NAME.…` of the catalogue."""

    name: str
    values: dict[str, Any] = {}

    @property
    def is_fatal(self) -> bool:
        """True if no hub can work with it."""
        return self.name not in NOTICES

    @property
    def may_pass(self) -> bool:
        """True if it may be well later without anybody's doing."""
        return self.name in PASSING

    @property
    def what(self) -> str:
        """The fault itself."""
        return t(f"postgres.{self.name}.what", **self.values)

    @property
    def why(self) -> str:
        """Its consequence."""
        return t("postgres.why" if self.is_fatal else f"postgres.{self.name}.why")

    @property
    def fix(self) -> str:
        """The way out of it."""
        return t(f"postgres.{self.name}.fix", **self.values)


def conninfo_of(address: str, password: str) -> str:
    """The connection string of libpq: the only place where password and address come together, never to be shown.

    Of several hosts it takes the one that can be written to, unless the address says otherwise.
    """
    more: dict[str, Any] = {"password": password} if password else {}
    if has_several_hosts(address) and not has_parameter(address, "target_session_attrs"):
        more["target_session_attrs"] = "read-write"
    return make_conninfo(address, **more)


def look(address: str, password: str, clock: Clock, *, is_thorough: bool = False) -> list[PostgresFault]:
    """Everything that is wrong, as far as it can be seen; a thorough look tries for a pooler too."""
    try:
        conninfo = patient(conninfo_of(address, password), "look")
        with psycopg.connect(conninfo, autocommit=True, prepare_threshold=None) as connection:
            found = list(_faults(connection, clock))
            if is_thorough and _is_pooled(connection, conninfo):
                found.append(PostgresFault("pooler"))
            return found
    except psycopg.ProgrammingError as error:  # of the address: an unknown parameter, a value that is none
        return [PostgresFault("parameter", {"said": _said(error, password)})]
    except psycopg.Error as error:
        return [_of_connection(error, address, password)]


def why_unreachable(address: str, password: str) -> str:
    """The reason for which no connection comes about, and the fix; "" where one does."""
    try:
        psycopg.connect(patient(conninfo_of(address, password), "look")).close()
    except psycopg.Error as error:
        fault = _of_connection(error, address, password)
        return f"{fault.what} {fault.fix}"
    return ""


def _of_connection(error: psycopg.Error, address: str, password: str) -> PostgresFault:
    said = _said(error, password)
    name = next((name for name, words in _SAID if any(word in said for word in words)), "unreachable")
    if name == "unreachable" and error.pgconn is not None and error.pgconn.needs_password:
        name = "password"  # of a server that speaks another language
    return PostgresFault(name, {"address": address, "said": said})


def _said(error: psycopg.Error, password: str) -> str:
    """Its words on one line, without the password in case somebody repeats it."""
    said = " ".join(str(error).split())
    return (said.replace(password, "…") if password else said)[:SAID_CHARS_MAX]


def _faults(connection: psycopg.Connection[Any], clock: Clock) -> Iterator[PostgresFault]:
    before_ms = clock.mono_ms()
    with connection.cursor(row_factory=class_row(_Facts)) as cursor:
        found = cursor.execute(_FACTS).fetchone()
    assert found is not None, "a row without a table is always there"
    if found.version < VERSION_MIN:
        yield PostgresFault("version", {"found": f"{found.version // 10_000}", "least": VERSION_MIN // 10_000})
    if found.is_standby:
        yield PostgresFault("standby", {"address": connection.info.host, "said": "pg_is_in_recovery()"})
    elif found.is_read_only:
        yield PostgresFault("read_only", {"database": connection.info.dbname})
    if found.encoding != "UTF8":
        yield PostgresFault("encoding", {"found": found.encoding, "database": connection.info.dbname})
    yield from _of_rights(connection, found)
    off_ms = found.now_ms - clock.now_ms()
    if abs(off_ms) > CLOCK_OFF_MS_MAX + clock.mono_ms() - before_ms:
        key = "postgres.clock.ahead" if off_ms > 0 else "postgres.clock.behind"
        yield PostgresFault("clock", {"off": t(key, span=span(abs(off_ms)))})


def _of_rights(connection: psycopg.Connection[Any], found: Any) -> Iterator[PostgresFault]:
    who = {"user": connection.info.user, "database": connection.info.dbname, "schema": found.schema or "public"}
    if not found.has_store:
        if not found.may_create:
            yield PostgresFault("rights", who | {"on": t("postgres.rights.create", **who)})
        return
    if forbidden := connection.execute(_FORBIDDEN, ([*RELATIONS],)).fetchone():
        name, is_sequence = forbidden
        on = t("postgres.rights.sequence", sequence=name) if is_sequence else t("postgres.rights.table", table=name)
        yield PostgresFault("rights", who | {"on": on})
        return
    row = connection.execute(VERSIONS.encode()).fetchone()
    version, compatible_from = row or (0, 0)
    if version > SCHEMA_VERSION and compatible_from > SCHEMA_VERSION:
        yield PostgresFault("new_schema", {"found": version, "known": SCHEMA_VERSION})
    elif version < SCHEMA_VERSION:
        yield PostgresFault("old_schema", {"found": version, "known": SCHEMA_VERSION})


def _is_pooled(connection: psycopg.Connection[Any], conninfo: str) -> bool:
    """True if another session uses the server process of ours while we hold a session but no transaction.

    A pooler for transactions lends the process that was given back last. One for sessions does not: it is no trouble.
    """
    with psycopg.connect(conninfo, autocommit=True, prepare_threshold=None) as other:
        for _ in range(POOLED_TRIES):  # a busy pooler may be late to take one back
            asked = (connection, connection, other)
            first, second, others = (who.execute("SELECT pg_backend_pid()").fetchone() for who in asked)
            if first != second or second == others:
                return True
    return False
