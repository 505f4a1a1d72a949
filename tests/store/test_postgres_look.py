"""What keeps a hub from a PostgreSQL database is named with its fix; the server is a real one."""

from __future__ import annotations

import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import psycopg
import pytest

from tests.pooler import Pooler, running_pooler
from tests.postgres import GUARDED, Server
from understudy.clock import ManualClock, SystemClock
from understudy.errors import ConfigError, StoreDownError
from understudy.store import postgres_look
from understudy.store.opening import open_store
from understudy.store.postgres import PostgresStore
from understudy.store.postgres_look import NOTICES, PASSING, RELATIONS, PostgresFault, conninfo_of, look
from understudy.store.tables import SCHEMA_VERSION
from understudy.texts import catalogue

PASSWORD = "hush: p@ss/word%"


@pytest.fixture(scope="module")
def place(postgres_server: Server) -> Iterator[str]:
    """The address of a database for all tests of this module, which leave it empty."""
    postgres_server.admin.execute(f"CREATE ROLE {GUARDED} LOGIN PASSWORD '{PASSWORD}'")
    postgres_server.admin.execute("CREATE ROLE single LOGIN CONNECTION LIMIT 0")
    address = postgres_server.new_database()
    postgres_server.ask(
        "REVOKE CREATE ON SCHEMA public FROM PUBLIC", database=urlsplit(address).path[1:]
    )  # as since 15
    yield address
    postgres_server.admin.execute(f"DROP ROLE {GUARDED}; DROP ROLE single")


def names(address: str, password: str = "", **more: bool) -> list[str]:
    return [fault.name for fault in look(address, password, SystemClock(), **more)]


def of(user: str, address: str) -> str:
    return address.replace("postgres@", f"{user}@")


def test_a_new_database_is_well(place: str) -> None:
    assert names(place, is_thorough=True) == []


def test_a_server_that_is_not_there(place: str) -> None:
    assert names("postgresql://postgres@127.0.0.1:1/u") == ["unreachable"]
    assert names("postgresql:///u?host=/nowhere") == ["unreachable"]
    assert names("postgresql://hub@no-such-host.invalid/u") == ["unreachable"]


def test_a_password_that_is_wrong_or_missing_is_named_and_not_shown(place: str) -> None:
    for wrong in ("", "wrong: hush hush"):
        (fault,) = look(of(GUARDED, place), wrong, SystemClock())
        assert fault.name == "password"
        assert "hush" not in fault.what + fault.fix


def test_the_right_password_is_taken_from_anywhere(place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    address = of(GUARDED, place)
    assert names(address, PASSWORD) == ["rights"]
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    assert names(address) == ["rights"]
    monkeypatch.delenv("PGPASSWORD")
    (tmp_path / "pass").write_text("*:*:*:" + GUARDED + ":" + PASSWORD.replace(":", "\\:"))
    (tmp_path / "pass").chmod(0o600)
    monkeypatch.setenv("PGPASSFILE", str(tmp_path / "pass"))
    assert names(address) == ["rights"]


def test_database_and_user_that_are_not_there(place: str) -> None:
    assert names(place.replace("/t", "/no-t")) == ["database"]
    assert names(of("nobody-else", place)) == ["refused"]


def test_a_server_without_room(place: str) -> None:
    assert names(of("single", place)) == ["crowded"]


def test_rights_are_looked_at_before_and_after_the_tables_are_there(place: str, postgres_server: Server) -> None:
    (fault,) = look(of(GUARDED, place), PASSWORD, SystemClock())
    assert (fault.name, "create no tables" in fault.what) == ("rights", True)
    database = urlsplit(place).path[1:]
    postgres_server.ask("CREATE TABLE understudy_schema (version int, compatible_from int)", database=database)
    postgres_server.ask(f"GRANT SELECT ON understudy_schema TO {GUARDED}", database=database)
    try:
        (fault,) = look(of(GUARDED, place), PASSWORD, SystemClock())
        assert (fault.name, "understudy_schema" in fault.what) == ("rights", True)
    finally:
        postgres_server.ask("DROP TABLE understudy_schema", database=database)


@pytest.mark.parametrize(
    ("missing", "says"), [("event_id", "use the sequence event_id"), ("daemon_count", "write the table daemon_count")]
)
def test_rights_on_all_that_a_hub_writes_are_looked_at(
    place: str, postgres_server: Server, missing: str, says: str
) -> None:
    """A hub without one of them started, and answered 503 to everything."""
    url, user = postgres_server.new_database(), GUARDED
    database = urlsplit(url).path[1:]
    PostgresStore(url).close()
    for kind in ("TABLES", "SEQUENCES"):
        postgres_server.ask(f"GRANT ALL ON ALL {kind} IN SCHEMA public TO {user}", database=database)
    assert look(of(user, url), PASSWORD, SystemClock()) == []
    kind = "SEQUENCE" if missing == "event_id" else "TABLE"
    postgres_server.ask(f"REVOKE ALL ON {kind} {missing} FROM {user}", database=database)
    (fault,) = look(of(user, url), PASSWORD, SystemClock())
    assert (fault.name, says in fault.what) == ("rights", True), fault.what
    postgres_server.ask(f"DROP DATABASE {database}")


def test_every_relation_of_a_store_is_looked_at(postgres_server: Server) -> None:
    url = postgres_server.new_database()
    PostgresStore(url).close()
    made = "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'S')"
    assert {name for (name,) in postgres_server.ask(made, database=urlsplit(url).path[1:])} == {*RELATIONS}


@pytest.mark.parametrize(
    ("version", "compatible_from", "found"),
    [
        (SCHEMA_VERSION, SCHEMA_VERSION, []),
        (SCHEMA_VERSION + 1, SCHEMA_VERSION, []),
        (SCHEMA_VERSION + 2, SCHEMA_VERSION + 1, ["new_schema"]),
        (SCHEMA_VERSION - 1, 1, ["old_schema"]),
    ],
)
def test_schemas_of_other_versions(
    place: str, postgres_server: Server, version: int, compatible_from: int, found: list[str]
) -> None:
    database = urlsplit(place).path[1:]
    made = f"CREATE TABLE understudy_schema AS SELECT {version} AS version, {compatible_from} AS compatible_from"
    postgres_server.ask(made, database=database)
    try:
        assert names(place) == found
    finally:
        postgres_server.ask("DROP TABLE understudy_schema", database=database)


def test_a_database_that_is_read_only_and_a_standby_among_several(place: str, postgres_server: Server) -> None:
    database = urlsplit(place).path[1:]
    postgres_server.ask(f"ALTER DATABASE {database} SET default_transaction_read_only = on")
    try:
        assert names(place) == ["read_only"]
        assert names(f"{place}&target_session_attrs=read-write") == ["standby"]
    finally:
        postgres_server.ask(f"ALTER DATABASE {database} RESET default_transaction_read_only")


def test_a_server_that_is_too_old(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres_look, "VERSION_MIN", 990_000)
    assert names(place) == ["version"]


def test_a_database_of_another_encoding(postgres_server: Server) -> None:
    postgres_server.admin.execute("CREATE DATABASE plain ENCODING 'SQL_ASCII' TEMPLATE template0")
    assert names(postgres_server.url("plain")) == ["encoding"]


def test_a_clock_that_is_off(place: str) -> None:
    (fault,) = look(place, "", ManualClock(now_ms=SystemClock().now_ms() - 60_000))
    assert (fault.name, "ahead" in fault.what, fault.is_fatal) == ("clock", True, False)


def test_a_pooler_for_transactions_is_seen_and_is_no_hindrance(place: str, postgres_server: Server) -> None:
    with tempfile.TemporaryDirectory(prefix="") as short, running_pooler(postgres_server.folder, Path(short)):
        pooled = f"{place.partition('?')[0]}?{urlencode({'host': short, 'port': 5432})}"
        assert names(pooled) == []
        (fault,) = look(pooled, "", SystemClock(), is_thorough=True)
        assert (fault.name, fault.is_fatal) == ("pooler", False)


class LatePooler(Pooler):
    """It takes the connection of one transaction back only while the next one is lent another."""

    def __init__(self, server: Path, folder: Path) -> None:
        super().__init__(server, folder)
        self.late_after = -1  # transactions
        self._late: list[socket.socket] = []

    def _lend(self, first: bytes) -> tuple[socket.socket, bytes]:
        lent = super()._lend(first)
        while self._late:
            super().give_back(self._late.pop())
        return lent

    def give_back(self, server: socket.socket) -> None:
        self.late_after -= 1
        self._late.append(server) if not self.late_after else super().give_back(server)


def test_a_pooler_is_seen_also_if_it_is_late_once(place: str, postgres_server: Server) -> None:
    server = postgres_server.folder / ".s.PGSQL.5432"
    with tempfile.TemporaryDirectory(prefix="") as short, closing(LatePooler(server, Path(short))) as late:
        pooled = f"{place.partition('?')[0]}?{urlencode({'host': short, 'port': 5432})}"
        with psycopg.connect(pooled, autocommit=True, prepare_threshold=None) as connection:
            late.late_after = 3  # the greeting of the other session, and two transactions of this one
            assert postgres_look._is_pooled(connection, pooled)


def test_parameters_that_libpq_does_not_know(place: str) -> None:
    assert names(f"{place}&sslmod=require") == ["parameter"]
    assert names(f"{place}&sslmode=often") == ["parameter"]


def test_several_hosts_lead_to_the_one_that_can_be_written_to() -> None:
    assert "target_session_attrs=read-write" in conninfo_of("postgresql://a,b/u", "")
    assert "target_session_attrs" not in conninfo_of("postgresql://a/u", "")
    assert "read-write" not in conninfo_of("postgresql://a,b/u?target_session_attrs=any", "")


@pytest.mark.parametrize(
    ("said", "name"),
    [
        ("FATAL:  the database system is starting up", "starting"),
        ("FATAL:  the database system is shutting down", "starting"),
        ("connection failed: session is read-only", "standby"),
        ('FATAL:  no pg_hba.conf entry for host "10.0.0.1", user "hub", database "u", no encryption', "refused"),
        ("SSL error: certificate verify failed", "tls"),
        ("FATAL:  sorry, too many clients already", "crowded"),
        ("Verbindung verweigert", "unreachable"),
    ],
)
def test_what_a_server_says_is_sorted(said: str, name: str) -> None:
    assert postgres_look._of_connection(psycopg.OperationalError(said), "postgresql://x", "").name == name


def test_a_hub_is_refused_with_what_and_fix_in_one_sentence_each(place: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"does not exist.*createdb"):
        open_store(place.replace("/t", "/no-t"), "", tmp_path, SystemClock())
    with pytest.raises(StoreDownError, match=r"cannot be reached.*Start it"):
        open_store("postgresql://postgres@127.0.0.1:1/u", "", tmp_path, SystemClock())


def test_without_the_extra_the_command_that_installs_it_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(ConfigError, match=r"pip install 'psycopg\[binary\]>=3.2'"):
        open_store("postgresql://hub@127.0.0.1:1/u", "", tmp_path, SystemClock())


def test_every_fault_has_its_texts() -> None:
    values = dict.fromkeys(
        ("address", "said", "found", "least", "database", "user", "schema", "on", "known", "off"), "x"
    )
    found = {key.split(".")[1] for key in catalogue("en") if key.startswith("postgres.") and key.endswith(".what")}
    assert NOTICES | PASSING | {name for name, _ in postgres_look._SAID} <= found
    for name in found:
        assert PostgresFault(name, values).what
        assert PostgresFault(name, values).fix
        assert name not in NOTICES or f"postgres.{name}.why" in catalogue("ja")
