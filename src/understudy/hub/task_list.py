"""Tasks as rows of a page: the narrow rows of the store and the beginning of their contents."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
from msgspec import Struct

from understudy.coordinator.nouns import Task, TaskBody
from understudy.hub.views import View
from understudy.store.base import TaskFilter
from understudy.wire.answers.tasks import status_word

TITLES_BYTES_MAX = 2 << 20  # of all bodies that are read for one list: a page wants to be quick
TITLE_CHARS_MAX = 160


class TaskShown(Struct, frozen=True):
    """A task as a row."""

    task: Task
    status: str  # in the words of the wire
    title: str  # the beginning of its content; "" where that was not read, or is empty


class TasksShown(Struct, frozen=True):
    """Tasks, newest first; `next` is the cursor of those before, "" if there are none."""

    rows: list[TaskShown]
    next: str


def tasks_shown(view: View, wanted: TaskFilter) -> TasksShown:
    """Those of `GET /api/tasks`, without their results."""
    found = view.reader.list_tasks(wanted)
    titles = titles_of(view, found)
    rows = [TaskShown(task, status_word(task), titles.get(task.id, "")) for task in found]
    more = f"{found[-1].queued_at}~{found[-1].id}" if len(found) == wanted.limit else ""
    return TasksShown(rows, more)


def titles_of(view: View, tasks: Iterable[Task]) -> dict[str, str]:
    """The beginning of the content of each, by id; of the first ones, as far as a page has time to read."""
    wanted: list[str] = []
    room = TITLES_BYTES_MAX
    for task in tasks:
        if task.size_bytes <= room:
            room -= task.size_bytes
            wanted.append(task.id)
    return {row.task_id: content_of(row)[:TITLE_CHARS_MAX] for row in view.reader.load_many(TaskBody, wanted)}


def content_of(body: TaskBody) -> str:
    """The content of a task."""
    spec = msgspec.json.decode(body.spec)
    content = spec.get("content", "") if isinstance(spec, dict) else ""
    return content if isinstance(content, str) else msgspec.json.encode(content).decode()
