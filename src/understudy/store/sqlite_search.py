"""A connection to SQLite that knows the rule of searches, and ends one whose time is over."""

from __future__ import annotations

import sqlite3
import time
from math import inf
from typing import Any

from understudy.store.reading import shown
from understudy.store.search import event_text, task_text
from understudy.store.text_search import fields_of


def has(kind: str, columns: tuple[str, ...]) -> str:
    """Columns are handed over as bytes: one that is not UTF-8 would fail the whole search."""
    return f"{kind}_has(?, {', '.join(f'CAST({column} AS BLOB)' for column in columns)})"


class Deadline:
    """Until when a connection may read; SQLite's own look at it is too coarse when each row takes long."""

    def __init__(self) -> None:
        self.until_s = inf

    def is_over(self) -> bool:
        """True if what is read takes too long."""
        return time.monotonic() > self.until_s

    def look(self) -> None:
        """TimeoutError if it is over; SQLite makes it an error of the statement."""
        if self.is_over():
            raise TimeoutError


class Connection(sqlite3.Connection):
    """With `task_has` and `event_has`."""

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self.deadline = deadline = Deadline()

        def task_has(needle: str, *columns: bytes) -> bool:
            deadline.look()
            return needle in task_text(*map(shown, columns))

        def event_has(needle: str, *columns: bytes) -> bool:
            deadline.look()
            name, component, message, fields = map(shown, columns)
            return needle in event_text(name, component, message, fields_of(fields))

        self.create_function("task_has", 4, task_has)
        self.create_function("event_has", 5, event_has)
