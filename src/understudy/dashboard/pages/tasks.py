"""Tasks, newest first, with a search and filters; the number of those that wait and run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from understudy.config.kinds import duration_text
from understudy.dashboard.page import Fragment, Given, Page
from understudy.dashboard.pages.new_task import PRIORITIES, SUBMIT
from understudy.hub.queue_depth import queue_depth
from understudy.hub.task_list import tasks_shown
from understudy.hub.views import View, cursor_of, internal_status
from understudy.store.base import TaskFilter

ROWS = 50
COUNTED_MAX = 100_000
FILTERS = ("q", "status", "source", "daemon")
STATUSES = ("pending", "claimed", "done", "failed", "cancelled")


def _counts(_: Given, view: View) -> Mapping[str, Any]:
    return {"depth": queue_depth(view.reader, COUNTED_MAX), "most": COUNTED_MAX}


def _rows(given: Given, view: View) -> Mapping[str, Any]:
    at, task_id = cursor_of(given["cursor"])
    wanted = TaskFilter(
        internal_status(given["status"]),
        given["source"],
        text=given["q"],
        daemon_id=given["daemon"],
        before_key=at,
        before_id=task_id,
        limit=ROWS,
    )
    shown = tasks_shown(view, wanted)
    return {
        "shown": shown,
        "is_filtered": _is_search(given),
        "older": _path(given, cursor=shown.next) if shown.next else "",
        "newest": _path(given) if given["cursor"] else "",
    }


def _is_search(given: Given) -> bool:
    """True if rows are looked at that may not be shown."""
    return any(given[name] for name in FILTERS)


def _path(given: Given, **instead: str) -> str:
    """The address of this list with these parameters in place of its own; without a cursor unless one is given."""
    values = {name: given[name] for name in FILTERS} | instead
    query = urlencode({name: value for name, value in values.items() if value})
    return f"/tasks?{query}" if query else "/tasks"


def _filters(given: Given, view: View) -> Mapping[str, Any]:
    return {
        "priorities": PRIORITIES,
        "channels": view.policy.routes.channels,
        "timeout": duration_text(view.policy.timeout_s * 1000),
        "chips": [(status, _path(given, status=status), given["status"] == status) for status in ("", *STATUSES)],
        "clear": "/tasks" if any(given[name] for name in ("q", "source", "daemon")) else "",
    }


PAGE = Page(
    "/tasks",
    "tasks",
    (
        Fragment("tasks_counts", _counts, frozenset({"task", "lease"}), every_s=60, is_common=True),
        Fragment("tasks_rows", _rows, frozenset({"task", "lease"}), searches=_is_search),
    ),
    _filters,
    (*FILTERS, "cursor"),
)
ACTS = (SUBMIT,)
