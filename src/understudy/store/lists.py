"""Lists of tasks and events, and searches in them."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from understudy.coordinator.nouns import Task
from understudy.store.base import EventFilter, StoredEvent, TaskFilter
from understudy.store.reading import event_of
from understudy.store.session import Session
from understudy.store.text_search import event_condition, task_condition

EVENTS_BACK_MAX = 20_000  # how far back a daemon's last words are looked for: there is no index that costs each event
_EVENTS = "SELECT id, at, level, name, component, message, fields, task_id, daemon_id FROM event WHERE"


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


class ListQueries(Session):
    """Mixed into the transaction of a backend."""

    def list_tasks(self, wanted: TaskFilter) -> list[Task]:
        """Tasks, newest first."""
        where = Conditions()
        for column in ("status", "source", "submitter", "daemon_id"):
            value = getattr(wanted, column)
            if value:
                where.add(f"{column} = ?", value)
        if wanted.text:
            condition, needles = task_condition(self.dialect, wanted.text)
            where.add(f"EXISTS (SELECT 1 FROM task_body b WHERE b.task_id = task.id AND {condition})", *needles)  # noqa: S608
        if wanted.before_id:
            where.add("(queued_at, id) < (?, ?)", wanted.before_key, wanted.before_id)
        return self._rows(Task, f"WHERE {where} ORDER BY queued_at DESC, id DESC LIMIT ?", *where.values, wanted.limit)

    def list_events(self, wanted: EventFilter) -> list[StoredEvent]:
        """Events in their order: the last `limit` of those wanted, or the first after `after_id`."""
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
        rows = self._fetch(f"{_EVENTS} {where} ORDER BY id {order} LIMIT ?", (*where.values, wanted.limit))
        if not wanted.after_id:
            rows.reverse()
        return [event_of(row, self.unreadable) for row in rows]

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
