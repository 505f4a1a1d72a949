"""Statements of PostgreSQL for many rows at once, whose texts do not depend on how many they are."""

from __future__ import annotations

from functools import cache, lru_cache

from msgspec import Struct
from msgspec.structs import fields

from understudy.store.postgres_pipeline import STATEMENTS_MAX
from understudy.store.statements import columns
from understudy.store.tables import TABLES

_TYPES = {str: "text", int: "bigint", bytes: "bytea"}


@cache
def insert(noun: type[Struct]) -> str:
    """Many rows in one statement, whose text does not depend on how many they are."""
    arrays = ", ".join(f"?::{_TYPES[field.type]}[]" for field in fields(noun))
    return f"INSERT INTO {TABLES[noun].name} ({columns(noun)}) SELECT * FROM unnest({arrays})"  # noqa: S608 - ours


@cache
def insert_one(noun: type[Struct]) -> str:
    """One row."""
    places = ", ".join("?" * len(fields(noun)))
    return f"INSERT INTO {TABLES[noun].name} ({columns(noun)}) VALUES ({places})"  # noqa: S608 - ours


@cache
def of_pairs(noun: type[Struct]) -> str:
    """The rows of several keys of two columns, each sought for itself."""
    keys = TABLES[noun].keys
    arrays = ", ".join(f"${n}::{_type_of(noun, key)}[]" for n, key in enumerate(keys, 1))
    same = " AND ".join(f"{key} = k{n}" for n, key in enumerate(keys))
    names = ", ".join(f"k{n}" for n, _ in enumerate(keys))
    one = f"SELECT * FROM {TABLES[noun].name} WHERE {same} OFFSET 0"  # noqa: S608 - ours
    return f"SELECT {columns(noun)} FROM unnest({arrays}) AS k({names}) CROSS JOIN LATERAL ({one}) AS found"  # noqa: S608


def _type_of(noun: type[Struct], column: str) -> str:
    return _TYPES[{field.encode_name: field.type for field in fields(noun)}[column]]


@lru_cache(STATEMENTS_MAX)
def update(noun: type[Struct], names: tuple[str, ...]) -> str:
    """Many rows in one statement; the values of their keys come first."""
    keys, table = TABLES[noun].keys, TABLES[noun].name
    arrays = ", ".join(f"?::{_type_of(noun, name)}[]" for name in (*keys, *names))
    same = " AND ".join(f"{table}.{key} = u.{key}" for key in keys)
    changes = ", ".join(f"{name} = u.{name}" for name in names)
    return f"UPDATE {table} SET {changes} FROM unnest({arrays}) AS u({', '.join((*keys, *names))}) WHERE {same}"  # noqa: S608


@lru_cache(STATEMENTS_MAX)
def update_one(noun: type[Struct], names: tuple[str, ...]) -> str:
    """One row; its key comes first."""
    keys = TABLES[noun].keys
    changes = ", ".join(f"{name} = ${n}" for n, name in enumerate(names, len(keys) + 1))
    same = " AND ".join(f"{key} = ${n}" for n, key in enumerate(keys, 1))
    return f"UPDATE {TABLES[noun].name} SET {changes} WHERE {same}"  # noqa: S608 - ours
