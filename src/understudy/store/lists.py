"""Lists of tasks and events, and searches in them."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from msgspec.structs import replace

from understudy.coordinator.changes import Event
from understudy.coordinator.nouns import FINISHED, LEASED, QUEUED, Task
from understudy.store.base import EventFilter, StoredEvent, TaskFilter
from understudy.store.reading import event_of, number_of, row_of, shown
from understudy.store.search import event_text, folded, task_text
from understudy.store.session import SqlSession
from understudy.store.statements import columns
from understudy.store.tables import TABLES
from understudy.store.text_search import event_condition, fields_of, task_condition

EVENTS_BACK_MAX = 20_000  # how far back a daemon's last words are looked for: there is no index that costs each event
SEARCHED_A_PAGE = 64  # rows with their texts, which Python looks at
SEARCHED_BYTES_MAX = 64 << 10  # of a task that comes with its page; a longer one comes by itself
_QUEUED_AT = TABLES[Task].columns.index("queued_at")
_EVENTS = "SELECT id, at, level, name, component, message, fields, task_id, daemon_id FROM event WHERE"
_NAMES = "SELECT id, name FROM event WHERE"


SORTED_MAX = 5_000  # unfinished tasks that are sorted for a list of those that wait
_LISTED, _SORTED = "queued_at DESC, id DESC", "queued_at + 0 DESC, id DESC"  # by an index, or sorted
_INDEXED = {  # what follows from a status, as the index of such tasks has it
    **{status: f"status = '{status}' AND finished_at > 0" for status in FINISHED},
    QUEUED: "status = 'queued' AND status IN ('queued', 'leased') AND needs <> ''",
    LEASED: "status = 'leased' AND expires_h > 0",
}


class Conditions:
    """Conditions that all hold, with their values."""

    def __init__(self) -> None:
        self.words = ["1 = 1"]
        self.values: list[Any] = []

    def add(self, condition: str, *values: Any) -> None:
        """One more."""
        self.words.append(condition)
        self.values += values

    def __str__(self) -> str:
        return " AND ".join(self.words)


class ListQueries(SqlSession):
    """Mixed into the transaction of a backend."""

    def list_tasks(self, wanted: TaskFilter) -> list[Task]:
        """Tasks, newest first."""
        if wanted.text and self.dialect.has is None:
            return self._tasks_with_text(wanted)
        where = self._of_tasks(wanted)
        order = _SORTED if self._are_few(wanted.status) else _LISTED
        return self._rows(Task, f"WHERE {where} ORDER BY {order} LIMIT ?", *where.values, wanted.limit)

    def _are_few(self, status: str) -> bool:
        """True where all tasks of a status are read and sorted, because few have it: the list of all is longer."""
        return status == LEASED or (status == QUEUED and self._open_tasks() <= SORTED_MAX)

    def _open_tasks(self) -> int:
        """The number of unfinished tasks, as it is kept for each key."""
        return number_of(self._fetch("SELECT sum(open_tasks) FROM usage")[0][0] or 0)

    def _of_tasks(self, wanted: TaskFilter) -> Conditions:
        where = Conditions()
        if wanted.status:
            where.add(_INDEXED[wanted.status])
        for column in ("source", "submitter", "daemon_id"):
            value = getattr(wanted, column)
            if value:
                where.add(f"{column} = ?", value)
        if wanted.text:
            condition, needles = task_condition(self.dialect, wanted.text)
            where.add(f"EXISTS (SELECT 1 FROM task_body b WHERE b.task_id = task.id AND {condition})", *needles)  # noqa: S608
        if wanted.before_id:
            where.add("(queued_at, id) < (?, ?)", wanted.before_key, wanted.before_id)
        return where

    def _tasks_with_text(self, wanted: TaskFilter) -> list[Task]:
        """Page by page: Python looks at what the backend takes to be possible."""
        needle, found = folded(wanted.text), list[Task]()
        spec_of = "SELECT b.spec FROM task_body b WHERE b.task_id = "
        query = (
            f"SELECT {columns(Task)}, CASE WHEN size_bytes <= {SEARCHED_BYTES_MAX} THEN ({spec_of} task.id) END AS spec"  # noqa: S608
            " FROM task WHERE {} ORDER BY queued_at DESC, id DESC LIMIT ?"
        )
        while True:
            where = self._of_tasks(wanted)
            rows = self._fetch(query.format(where), (*where.values, SEARCHED_A_PAGE))
            for *row, spec in rows:
                task = row_of(Task, tuple(row), self.unreadable)
                if task is None:
                    continue
                whole = spec if spec is not None else self._fetch(f"{spec_of} ?", (task.id,))[0][0]
                if needle in task_text(task.id, task.source, whole):
                    found.append(task)
            if len(found) >= wanted.limit or len(rows) < SEARCHED_A_PAGE:
                return found[: wanted.limit]
            wanted = replace(wanted, before_key=rows[-1][_QUEUED_AT], before_id=rows[-1][0])

    def list_events(self, wanted: EventFilter) -> list[StoredEvent]:
        """Events in their order: the last `limit` of those wanted, or the first after `after_id`."""
        if wanted.text and self.dialect.has is None:
            rows = self._events_with_text(wanted)
        else:
            rows = self._events(wanted, wanted.limit)
        if not wanted.after_id:
            rows.reverse()
        if wanted.names_only:
            return [StoredEvent(place, Event(0, "", shown(name), "", "", {})) for place, name in rows]
        return [event_of(row, self.unreadable) for row in rows]

    def _events(self, wanted: EventFilter, limit: int) -> list[Any]:
        where = Conditions()
        for column, value in (("at >= ?", wanted.since_at), ("id > ?", wanted.after_id), ("id < ?", wanted.before_id)):
            if value:
                where.add(column, value)
        if wanted.task_id:
            where.add("task_id <> '' AND task_id = ?", wanted.task_id)
        if wanted.levels:
            where.add(self.dialect.sql("level IN ?"), self.dialect.collection(wanted.levels))
        if wanted.text:
            condition, needles = event_condition(self.dialect, wanted.text)
            where.add(condition, *needles)
        order = "ASC" if wanted.after_id else "DESC"
        what = _NAMES if wanted.names_only else _EVENTS
        return self._fetch(f"{what} {where} ORDER BY id {order} LIMIT ?", (*where.values, limit))

    def _events_with_text(self, wanted: EventFilter) -> list[Any]:
        """As with tasks, in the order in which they are read."""
        needle, found = folded(wanted.text), list[Any]()
        while True:
            rows = self._events(wanted, SEARCHED_A_PAGE)
            for row in rows:
                _, _, _, name, component, message, fields, _, _ = row
                if needle in event_text(name, component, message, fields_of(fields)):
                    found.append(row)
            if len(found) >= wanted.limit or len(rows) < SEARCHED_A_PAGE:
                return found[: wanted.limit]
            last: int = rows[-1][0]
            wanted = replace(wanted, after_id=last) if wanted.after_id else replace(wanted, before_id=last)

    def last_events_of(self, daemon_id: str, limit: int, names: Collection[str] = ()) -> list[StoredEvent]:
        """The last events of a daemon's story ("": of all), of these names if any are given, oldest first.

        What is long past is not found.
        """
        where = Conditions()
        where.add("id > (SELECT max(id) FROM event) - ?", EVENTS_BACK_MAX)
        if daemon_id:
            where.add("daemon_id = ?", daemon_id)
        if names:
            where.add(self.dialect.sql("name IN ?"), self.dialect.collection(names))
        rows = self._fetch(f"{_EVENTS} {where} ORDER BY id DESC LIMIT ?", (*where.values, limit))
        return [event_of(row, self.unreadable) for row in reversed(rows)]

    def message_ids(self, user_id: str) -> list[str]:
        """The ids of all messages of a user, of any owner."""
        return [key for (key,) in self._fetch("SELECT id FROM memory WHERE user_id = ?", (user_id,))]
