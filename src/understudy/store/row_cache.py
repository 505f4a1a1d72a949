"""Rows as they stand in the store, known because its only writer has just read or written them.

A daemon that beats and a task that runs are asked for again and again. On SQLite nobody but this process writes while
a hub serves, so their rows are kept, and a batch reads only those that are new to it. A row is kept exactly as the
table has it: one that was read with a stand-in is not (store/reading.py). Nor is a task that has ended, which is hardly
asked for again, nor a row with long texts, which would fill the memory.

All rows of a table are forgotten after a statement that changes some of them by a condition; those of both tables after
a transaction that failed, and after a commit of another connection, which `PRAGMA data_version` tells (somebody's own
SQL, a restored backup).
"""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from operator import attrgetter
from typing import Any

from msgspec import Struct

from understudy.coordinator.nouns import Daemon, Task
from understudy.store.tables import KEY_OF, TABLES

ROWS_MAX = 4_096  # of each noun; the one that was read or written longest ago goes first
CHARS_MAX = 2_048  # of the lists and texts in a row that may be long; a larger row is not kept


def _is_daemon_wanted(daemon: Any) -> bool:
    said = len(daemon.running) + len(daemon.loops) + len(daemon.auth)
    return said + len(daemon.provides) + len(daemon.capabilities) + len(daemon.expected_sleep) <= CHARS_MAX


def _is_task_wanted(task: Any) -> bool:
    return not task.finished_at and len(task.needs) + len(task.reply_to) <= CHARS_MAX


_IS_WANTED: dict[type[Struct], Callable[[Any], bool]] = {Daemon: _is_daemon_wanted, Task: _is_task_wanted}
_STATE_OF: dict[type[Struct], Callable[[Any], str]] = {Daemon: attrgetter("state"), Task: attrgetter("status")}


class RowCache:
    """The rows of daemons and tasks that are known, by noun and key; used by one transaction at a time."""

    def __init__(self, nouns: Iterable[type[Struct]] = (Daemon, Task)) -> None:
        self._rows: dict[type[Struct], dict[Any, Any]] = {noun: {} for noun in nouns}
        self._version = -1

    def begin(self, connection: sqlite3.Connection) -> None:
        """Forget everything if another connection has committed; called in the transaction that may then use it."""
        version = connection.execute("PRAGMA data_version").fetchone()[0]
        if version != self._version:
            self.clear()
            self._version = version

    def of(self, noun: type[Struct]) -> dict[Any, Any] | None:
        """The known rows of a noun by key; None for a noun of which none are kept."""
        return self._rows.get(noun)

    def keep(self, noun: type[Struct], rows: Iterable[Struct]) -> None:
        """Rows of one noun that were just read or written."""
        known = self._rows.get(noun)
        if known is None:
            return
        key_of, is_wanted = KEY_OF[noun], _IS_WANTED[noun]
        for row in rows:
            key = key_of(row)
            known.pop(key, None)
            if is_wanted(row):
                known[key] = row
        if (surplus := len(known) - ROWS_MAX) > 0:
            for key in [*islice(known, surplus)]:
                del known[key]

    def drop(self, noun: type[Struct], keys: Iterable[Any]) -> None:
        """Rows that were removed."""
        known = self._rows.get(noun)
        if known:
            for key in keys:
                known.pop(key, None)

    def forget(self, table: str) -> None:
        """Forget the rows of one table."""
        for noun, known in self._rows.items():
            if TABLES[noun].name == table:
                known.clear()

    def clear(self) -> None:
        """Forget everything."""
        for known in self._rows.values():
            known.clear()


def changed_alike(
    noun: type[Struct], before: Mapping[Any, Any], after: Mapping[Any, Any]
) -> Iterable[tuple[list[Any], list[Any]]]:
    """The rows that are not what they were, as they were and as they are, in one pair of lists for each way they went.

    The way is the state before and the state after. Rows that went the same way have mostly changed the same columns,
    and one statement writes them. One for a claim and a result would write the columns, and indexes, of both.
    """
    state_of = _STATE_OF[noun]
    alike: defaultdict[tuple[str, str], tuple[list[Any], list[Any]]] = defaultdict(lambda: ([], []))
    for key, was in before.items():
        now = after[key]
        if now is not was:
            were, are = alike[state_of(was), state_of(now)]
            were.append(was)
            are.append(now)
    return alike.values()
