"""Statements of PostgreSQL for many rows at once, whose texts do not depend on how many they are."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import cache, lru_cache
from typing import Any

from msgspec import Struct
from msgspec.structs import fields

from understudy.store.postgres_pipeline import STATEMENTS_MAX
from understudy.store.statements import columns
from understudy.store.tables import TABLES

_TYPES = {str: "text", int: "bigint", bytes: "bytea"}
ROWS_MIN = 8  # in fewer no column is looked at: one text serves them all
SHAPES_MAX = 100  # so many different sets of columns are sent in this way; each is a statement to be prepared
_shapes: set[tuple[str, frozenset[str]]] = set()  # by table; there are as many as there are kinds of batches


def same_in_all(table: str, values: Mapping[str, Sequence[Any]], never: Collection[str]) -> frozenset[str]:
    """The columns that have one value in all rows: of them it is sent once, and not parsed for each row.

    None of those in `never`, and none where that would be one more statement than is worth it.
    """
    if len(next(iter(values.values()), ())) < ROWS_MIN:
        return frozenset()
    found = frozenset([n for n, column in values.items() if n not in never and column.count(column[0]) == len(column)])
    if (table, found) not in _shapes:
        if len(_shapes) >= SHAPES_MAX:
            return frozenset()
        _shapes.add((table, found))
    return found


@lru_cache(STATEMENTS_MAX)
def insert(noun: type[Struct], same: frozenset[str]) -> str:
    """Many rows in one statement; of the columns in `same` one value stands for all rows."""
    types = {field.encode_name: _TYPES[field.type] for field in fields(noun)}
    return inserted(TABLES[noun].name, types, same)


def inserted(table: str, types: Mapping[str, str], same: Collection[str]) -> str:
    """The same for columns of these types. The arrays are unrolled beside each other, and no row is kept for that."""
    values = ", ".join(f"?::{kind}" if name in same else f"unnest(?::{kind}[])" for name, kind in types.items())
    return f"INSERT INTO {table} ({', '.join(types)}) SELECT {values}"


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
def update(noun: type[Struct], names: tuple[str, ...], same: frozenset[str]) -> str:
    """Many rows in one statement: the values of the columns in `same`, then arrays, those of the keys first."""
    keys, table = TABLES[noun].keys, TABLES[noun].name
    arrays = [name for name in (*keys, *names) if name not in same]
    unrolled = ", ".join(f"unnest(?::{_type_of(noun, name)}[]) AS {name}" for name in arrays)
    changes = ", ".join(f"{name} = {'?' if name in same else f'u.{name}'}" for name in names)
    found = " AND ".join(f"{table}.{key} = u.{key}" for key in keys)
    return f"UPDATE {table} SET {changes} FROM (SELECT {unrolled}) AS u WHERE {found}"  # noqa: S608 - ours
