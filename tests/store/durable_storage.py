"""`ctx.storage` of a Durable Object, made of sqlite3: it takes and gives what the real one does, and refuses the same.

Seen in workerd 1.20261117.1 (tests/cloudflare asks the real one the same questions).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from typing import Any

VALUES_MAX = 100
ROW_BYTES_MAX = 2 << 20
STATEMENT_BYTES_MAX = 100_000
SAFE = (1 << 53) - 1  # from here on Python's integers become BigInt, which is refused
_REFUSED = (sqlite3.SQLITE_PRAGMA, sqlite3.SQLITE_TRANSACTION, sqlite3.SQLITE_SAVEPOINT, sqlite3.SQLITE_ATTACH)


class JsError(Exception):
    """What JavaScript throws."""


class JsNull:
    """NULL."""


class Buffer:
    """A Uint8Array."""

    def __init__(self, data: bytes) -> None:
        self.data = data


class Cursor:
    """What `exec` gives: its rows are read once."""

    def __init__(self, rows: list[tuple[Any, ...]]) -> None:
        self._rows = rows

    def raw(self) -> Cursor:
        return self

    def toArray(self) -> Cursor:  # noqa: N802
        return self

    def to_py(self) -> list[list[Any]]:
        return [[_to_javascript(value) for value in row] for row in self._rows]


class Sql:
    """`ctx.storage.sql`."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self.databaseSize = 4096
        self.statements = 0

    def exec(self, query: str, *values: Any) -> Cursor:
        self.statements += 1
        if len(values) > VALUES_MAX:
            raise JsError("too many SQL variables")
        if len(query.encode()) > STATEMENT_BYTES_MAX:
            raise JsError("the statement is too long")
        bound = [_from_javascript(value) for value in values]
        if sum(len(value) for value in bound if isinstance(value, str | bytes)) > ROW_BYTES_MAX:
            raise JsError("string or blob too big: SQLITE_TOOBIG")
        try:
            return Cursor(self._run(query, bound))
        except (sqlite3.Error, sqlite3.Warning) as error:
            raise JsError(str(error)) from error

    def _run(self, query: str, bound: list[Any]) -> list[tuple[Any, ...]]:
        if not bound and ";" in query:
            for statement in _statements(query):
                self._connection.execute(statement)
            return []
        return self._connection.execute(query, bound).fetchall()


class Storage:
    """`ctx.storage` of one object; another one on the same connection is the object after it was evicted."""

    def __init__(self, connection: sqlite3.Connection | None = None) -> None:
        self.connection = connection or sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        self._is_ours = False
        self.connection.set_authorizer(self._authorize)
        self.sql = Sql(self.connection)
        self.commits = 0

    def _authorize(self, action: int, *_: Any) -> int:
        return sqlite3.SQLITE_DENY if action in _REFUSED and not self._is_ours else sqlite3.SQLITE_OK

    def transactionSync(self, fn: Callable[[], None]) -> None:  # noqa: N802
        self._ours("BEGIN")
        try:
            fn()
        except BaseException as error:  # noqa: BLE001 - as JavaScript does
            self._ours("ROLLBACK")
            raise JsError(f"PythonError: {error}") from None
        self._ours("COMMIT")
        self.commits += 1

    def _ours(self, statement: str) -> None:
        self._is_ours = True
        try:
            self.connection.execute(statement)
        finally:
            self._is_ours = False


def _statements(script: str) -> Iterator[str]:
    """The statements of a script, triggers whole."""
    text = ""
    for part in script.split(";"):
        text += f"{part};"
        if sqlite3.complete_statement(text):
            yield text
            text = ""


def _from_javascript(value: Any) -> Any:
    """A value as SQLite gets it: every number is a double."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        if isinstance(value, int) and abs(value) >= SAFE:
            raise JsError("TypeError: Cannot convert a BigInt value to a number")
        return float(value)
    if isinstance(value, Buffer):
        return value.data
    assert value is None or isinstance(value, str), f"{type(value)} is no value there"
    return value


def _to_javascript(value: Any) -> Any:
    """A value as it comes back."""
    if value is None:
        return JsNull()
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return memoryview(value) if isinstance(value, bytes) else value
