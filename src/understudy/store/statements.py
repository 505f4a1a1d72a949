"""The statements that are made of tables and queries; each is put together once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache, lru_cache
from typing import Any, TypeVar

from msgspec import Struct

from understudy.store.dialect import STATEMENTS_MAX, Dialect
from understudy.store.queries import Query, Series
from understudy.store.tables import TABLES, Table

UPDATES_MAX = 400  # texts for one row that are remembered
_NAMES = {table.name for table in TABLES.values()} | {"event"}  # the log has no noun of its own
R = TypeVar("R")


def columns(noun: type[Struct]) -> str:
    """The columns of a noun's table, in the order of its fields."""
    return ", ".join(TABLES[noun].columns)


@cache
def select(noun: type[Struct]) -> str:
    """All rows; a condition may follow."""
    return f"SELECT {columns(noun)} FROM {TABLES[noun].name}"  # noqa: S608 - names of our own tables


@lru_cache(STATEMENTS_MAX)
def selected(noun: type[Struct], where: str) -> str:
    """The rows of a condition. The same string object each time, so its hash is computed once."""
    return f"{select(noun)} {where}"


@cache
def where_key(noun: type[Struct]) -> str:
    """The row of one key."""
    return "WHERE " + " AND ".join(f"{name} = ?" for name in TABLES[noun].keys)


@cache
def where_keys(dialect: Dialect, noun: type[Struct]) -> str:
    """The rows of several keys of one column."""
    return dialect.sql(f"WHERE {TABLES[noun].keys[0]} IN ?")


@cache
def where(dialect: Dialect, query: Query[Any], *, of_one: bool = False) -> str:
    """The rows of a query; `of_one`: the collection that it asks for has one text, which stands for it."""
    order = f"ORDER BY {query.order} " if query.order else ""
    asked = query.where.replace(" IN ?", " = ?") if of_one else query.where
    return dialect.sql(f"WHERE {asked} {order}LIMIT ?")


@cache
def counted(dialect: Dialect, query: Query[Any]) -> str:
    """The number of a query's rows, up to a limit."""
    table = TABLES[query.noun].name
    return dialect.sql(f"SELECT count(*) FROM (SELECT 1 FROM {table} WHERE {query.where} LIMIT ?) AS counted")  # noqa: S608


@cache
def gathered(series: Series[Any]) -> str:
    """The values of each bucket of time."""
    at, table = series.at, TABLES[series.noun].name
    return (
        f"SELECT ({at} - ?) / ?, {', '.join(series.values)} FROM {table} "  # noqa: S608 - our own
        f"WHERE {at} >= ? AND {at} < ? AND {series.where} GROUP BY 1"
    )


@cache
def upsert(dialect: Dialect, noun: type[Struct], rows: int) -> str:
    """Insert or replace rows, many in one step."""
    places = _places(len(TABLES[noun].columns), rows)
    return f"INSERT INTO {TABLES[noun].name} ({columns(noun)}) VALUES ({places}) {merged(dialect, noun)}"  # noqa: S608


@lru_cache(STATEMENTS_MAX)
def update_many(noun: type[Struct], names: tuple[str, ...], rows: int) -> str:
    """Change these columns of rows that are there, many in one step; the values of a row begin with its one key."""
    table, (key,) = TABLES[noun].name, TABLES[noun].keys
    changes = ", ".join(f"{name} = new.{name}" for name in names)
    new = f"WITH new ({key}, {', '.join(names)}) AS (VALUES ({_places(1 + len(names), rows)})) SELECT * FROM new"  # noqa: S608
    return f"UPDATE {table} SET {changes} FROM ({new}) AS new WHERE {table}.{key} = new.{key}"  # noqa: S608


@lru_cache(UPDATES_MAX)
def update_one(noun: type[Struct], names: tuple[str, ...], mark: str) -> str:
    """Change these columns of one row, whose key comes first; values stand as `mark` and their number (`$1`, `?1`)."""
    keys = TABLES[noun].keys
    changes = ", ".join(f"{name} = {mark}{n}" for n, name in enumerate(names, len(keys) + 1))
    same = " AND ".join(f"{key} = {mark}{n}" for n, key in enumerate(keys, 1))
    return f"UPDATE {TABLES[noun].name} SET {changes} WHERE {same}"  # noqa: S608


def _places(values: int, rows: int) -> str:
    return "), (".join([", ".join("?" * values)] * rows)


@lru_cache(STATEMENTS_MAX)
def changed_table(statement: str) -> str:
    """The table whose rows an UPDATE or a DELETE changes. ValueError for a statement that begins in another way."""
    name = statement.removeprefix("DELETE FROM ").removeprefix("UPDATE ").split(maxsplit=1)[0]
    if name not in _NAMES:
        raise ValueError(f"the table that this changes is not known: {statement}")
    return name


def in_steps(rows: Sequence[R], most: int) -> Iterator[Sequence[R]]:
    """The rows in parts whose lengths are powers of two, for few different statements; each is one step of SQLite.

    Each step gives up the interpreter, which costs while others want it.
    """
    start = 0
    while left := len(rows) - start:
        count = min(most, 1 << left.bit_length() - 1)
        yield rows[start : start + count]
        start += count


@cache
def merged(dialect: Dialect, noun: type[Struct]) -> str:
    """The part of an INSERT that says what becomes of a row that is there already; one that never changes stays."""
    table = TABLES[noun]
    updates = ", ".join(f"{name} = {_merged(table, name)}" for name in table.changing)
    return dialect.sql(f"ON CONFLICT ({', '.join(table.keys)}) DO {f'UPDATE SET {updates}' if updates else 'NOTHING'}")


def _merged(table: Table, name: str) -> str:
    if name in table.added:
        return f"{table.name}.{name} + excluded.{name}"
    return f"greatest({table.name}.{name}, excluded.{name})" if name in table.greatest else f"excluded.{name}"
