"""The conditions of searches in SQL: quick ones that pass over most rows, and the exact rule where a backend has it."""

from __future__ import annotations

from typing import Any

import msgspec

from understudy.store.dialect import Dialect
from understudy.store.search import folded, plain_part, telling_characters

_TASK = ("task.id", "task.source", "b.spec")
_EVENT = ("name", "component", "message", "fields")


def task_condition(dialect: Dialect, text: str) -> tuple[str, list[str]]:
    """The condition, and its values, of tasks that may have a text in them; `b` is the task's body."""
    return _condition(dialect, "task", _TASK, folded(text))


def event_condition(dialect: Dialect, text: str) -> tuple[str, list[str]]:
    """The same for events."""
    return _condition(dialect, "event", _EVENT, folded(text))


def _condition(dialect: Dialect, kind: str, columns: tuple[str, ...], needle: str) -> tuple[str, list[str]]:
    """Python is asked only about rows that may match: the rest is quick, and needs no interpreter.

    JSON escapes control characters, so a word may be interrupted by the colours of a terminal.
    """
    raw = f"({' || '.join(columns)})"
    conditions, values = [], []
    if word := plain_part(needle):
        is_ascii = f"length({raw}) = {dialect.octets.format(raw)}"
        conditions.append(f"NOT ({is_ascii} AND instr(lower({raw}), ?) = 0 AND instr({raw}, '\\u00') = 0)")
        values.append(word)
    for chars in telling_characters(needle):
        conditions.append(f"({' OR '.join([f'instr({raw}, ?) > 0'] * len(chars))})")
        values += chars
    if dialect.has is not None:
        conditions.append(dialect.has(kind, columns))
        values.append(needle)
    return dialect.sql(" AND ".join(conditions or ["1 = 1"])), values


def fields_of(encoded: str) -> dict[str, Any]:
    """Those of an event; of a row that cannot be read the rest is still found."""
    try:
        return msgspec.json.decode(encoded, type=dict[str, Any])
    except (ValueError, RecursionError):
        return {}
