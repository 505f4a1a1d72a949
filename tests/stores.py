"""One set of tests for both backends: a test asks for a new store, and gets SQLite or PostgreSQL.

Modules that a folder names in its `ON_BOTH` run on both; `--store=postgres` runs everything that asks here on
PostgreSQL alone. What is marked `sqlite` stays on SQLite. A store of PostgreSQL goes back to a pool when it is closed,
with its connections, and is emptied for the next test: to delete the rows of a test takes 3 ms, to make or truncate a
database some hundred.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.waiting import eventually
from understudy.store.base import Store, Unreadable
from understudy.store.sqlite import SqliteStore

if TYPE_CHECKING:
    import psycopg

    from tests.postgres import Server
    from understudy.store.postgres import PostgresStore

BACKENDS = ("sqlite", "postgres")
_TABLES = """
SELECT relname FROM pg_class WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'p')
  AND NOT relispartition AND relname <> 'understudy_schema' ORDER BY relname = 'usage', relname
"""
_SEQUENCES = "SELECT sequencename FROM pg_sequences WHERE schemaname = current_schema()"


class Database:
    """A database with the schema in it, its first store, and what empties it."""

    def __init__(self, server: Server, pool: Pool) -> None:
        import psycopg

        from understudy.store.postgres import PostgresStore

        self.url = server.new_database()
        self._pool = pool
        self._is_over = True  # the test that opens it again by its name; else it is free once it is closed
        self._opened = 0
        self.store = PostgresStore(self.url, own_clock=True)
        self.close_for_good = self.store.close
        self.store.close = self._closed  # type: ignore[method-assign]
        self._first = {name: value for name, value in vars(self.store).items() if name != "_writer"}
        self._admin: psycopg.Connection[Any] = psycopg.connect(self.url, autocommit=True)
        self._empty = self._emptying()

    def _emptying(self) -> bytes:
        """The statements that make it as it was when it was new."""
        tables = [row[0] for row in self._admin.execute(_TABLES)]
        kept = [name for name in tables if self._admin.execute(f"SELECT 1 FROM {name} LIMIT 1").fetchone()]
        self._admin.execute("CREATE SCHEMA first")
        for name in kept:
            self._admin.execute(f"CREATE TABLE first.{name} AS TABLE {name}")
        parts = [f"DELETE FROM {name}" for name in tables]
        parts += [f"INSERT INTO {name} SELECT * FROM first.{name}" for name in kept]
        parts += [f"ALTER SEQUENCE {row[0]} RESTART" for row in self._admin.execute(_SEQUENCES)]
        return "; ".join(("BEGIN", *parts, "COMMIT")).encode()

    def lend(self, *, is_named: bool) -> PostgresStore:
        """The store, empty; of a name it is kept until `end`."""
        self._admin.execute(self._empty)
        for name in set(vars(self.store)) - {"_writer", *self._first}:  # what a test put in the place of a method
            delattr(self.store, name)
        vars(self.store).update(self._first)
        self.store._unreadable, self.store._last_room = Unreadable(), type(self.store._last_room)()
        self._is_over, self._opened = not is_named, 1
        return self.store

    def again(self) -> Store:
        """Another store on it, as another hub has one."""
        from understudy.store.postgres import PostgresStore

        more = PostgresStore(self.url, own_clock=True)
        close = more.close
        self._opened += 1

        def closed() -> None:
            close()
            self._closed()

        more.close = closed  # type: ignore[method-assign]
        return more

    def _closed(self) -> None:
        for listener in self.store._listeners:
            listener.stop()
        self.store._listeners.clear()
        self._opened -= 1
        if self._opened == 0 and self._is_over:
            self._pool.free.append(self)

    def close(self) -> None:
        """Close the first store, if it is open."""
        if self._opened:
            self.store.close()

    def end(self) -> None:
        """Let nobody open it by its name any more."""
        self._is_over = True
        if self._opened == 0:
            self._pool.free.append(self)

    def drop(self) -> None:
        """Close what is kept."""
        self._admin.close()
        self.close_for_good()


class Pool:
    """The databases of one server, each with at most one test."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._made: list[Database] = []
        self.free: list[Database] = []

    def take(self) -> Database:
        if not self.free:
            self._made.append(Database(self._server, self))
            return self._made[-1]
        return self.free.pop()

    def close(self) -> None:
        eventually(lambda: len(self.free) == len(self._made), what="the end of all hubs on PostgreSQL")
        for database in self._made:
            database.drop()


class Stores:
    """The stores of one test; with the same path, the same rows."""

    def __init__(self, pool: Pool | None) -> None:
        self._pool = pool
        self._named: dict[Path, Database] = {}
        self._lent: list[Database] = []

    def new(self, path: Path | None = None) -> Store:
        if self._pool is None:
            return SqliteStore(path)
        if path is not None and path in self._named:
            return self._named[path].again()
        database = self._pool.take()
        if path is not None:
            self._named[path] = database
        self._lent.append(database)
        return database.lend(is_named=path is not None)

    def close(self) -> None:
        """Close those that the test has left open; only where nothing works on them by itself."""
        for database in self._lent:
            database.close()

    def end(self) -> None:
        for database in self._named.values():
            database.end()


_current = [Stores(None)]


def new_store(path: Path | None = None) -> Store:
    """A new and empty store of the backend that the test is for; SQLite without a path is in memory."""
    return _current[-1].new(path)


def write(store: Store, statement: str) -> None:
    """Change rows past every rule, as damage and other programs do, which also makes known rows unknown."""
    if isinstance(store, SqliteStore):
        store._known.clear()
    store.transaction(lambda tx: (tx._db.execute if isinstance(store, SqliteStore) else tx._change)(statement))  # type: ignore[attr-defined]


def on_both(metafunc: pytest.Metafunc, modules: Mapping[str, Collection[str]]) -> None:
    """Run the tests of these modules once for each backend, those with a part of a name if any is given."""
    if "backend" not in metafunc.fixturenames:
        return
    if metafunc.definition.get_closest_marker("sqlite") is not None:
        return
    if metafunc.config.getoption("--store") == "postgres":
        metafunc.parametrize("backend", ["postgres"], indirect=True)
    elif _is_for_both(metafunc.definition, modules):
        metafunc.parametrize("backend", BACKENDS, indirect=True)


def _is_for_both(test: pytest.Function, modules: Mapping[str, Collection[str]]) -> bool:
    parts = modules.get(test.module.__name__.rpartition(".")[2])
    return parts is not None and (not parts or any(part in test.name for part in parts))


@pytest.fixture(scope="session")
def pool(postgres_server: Server) -> Iterator[Pool]:
    """The databases of this session. Their stores remember no places of the queue, however slow the machine is."""
    from understudy.store import postgres_fronts

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(postgres_fronts, "SLOW_S", float("inf"))
        made = Pool(postgres_server)
        yield made
        made.close()


@pytest.fixture(scope="session", autouse=True)
def backend_of_all(request: pytest.FixtureRequest) -> None:
    """With `--store=postgres`, what several tests share is there too."""
    if request.config.getoption("--store") == "postgres":
        _current[0] = Stores(request.getfixturevalue("pool"))


@pytest.fixture(autouse=True)
def backend(request: pytest.FixtureRequest) -> Iterator[str]:
    """The backend of this test."""
    name = getattr(request, "param", "sqlite")
    stores = Stores(request.getfixturevalue("pool") if name == "postgres" else None)
    _current.append(stores)
    yield name
    _current.remove(stores)
    stores.end()


@pytest.fixture
def all_closed(backend: str) -> Iterator[None]:
    """What the test leaves open is closed after it: for tests in which nothing works by itself."""
    stores = _current[-1]
    yield
    stores.close()
