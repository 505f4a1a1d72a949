"""The story of one task as its page shows it: its standing, its attempts and events, its end."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

from understudy.coordinator.answers import Place
from understudy.coordinator.claims import tags_of
from understudy.coordinator.leases import attempts_of
from understudy.coordinator.nouns import LEASED, Attempt, Daemon, Evidence, Progress, Result, Task, TaskBody
from understudy.coordinator.takeover import covers
from understudy.coordinator.takeover_nouns import UNTOLD, TaskTakeover
from understudy.errors import NotFoundError
from understudy.hub.home import progress_said
from understudy.hub.task_list import content_of
from understudy.hub.views import View
from understudy.store.base import EventFilter
from understudy.store.queries import EVIDENCE_OF, LAST_ATTEMPTS_OF, READY_BEFORE
from understudy.wire.answers.base import as_stored
from understudy.wire.answers.daemons import DaemonJson
from understudy.wire.answers.events import EventJson, event_json
from understudy.wire.answers.tasks import status_word

POSITION_MAX = 10_000
ATTEMPTS_SHOWN = 50
EVENTS_SHOWN = 100
EVIDENCE_SHOWN = 10
WORKING = ("healthy", "late", "new")  # states in which a daemon may claim


class SubmittedTask(Struct, frozen=True):
    """A task as it was submitted."""

    task: Task
    content: str
    needs: list[str]
    place: Place | None  # of its answer, if it named one


class Standing(Struct, frozen=True):
    """A task as it stands."""

    task: Task
    status: str  # in the words of the wire
    position: int  # in the queue; 0: it is not in it, POSITION_MAX + 1: beyond what is counted
    lacks: list[str]  # what it needs and no daemon offers that may claim; empty: one offers all, or it does not matter
    has_worker: bool  # a daemon may claim that offers all it needs
    daemon: DaemonJson | None  # that runs it, or that it waits for
    progress: str  # of its run, in a few words; "" for none
    progress_at: int


class Past(Struct, frozen=True):
    """The attempts of a task and its events, each in their order; the last ones of many."""

    task: Task
    attempts: list[Attempt]
    events: list[EventJson]
    has_more_attempts: bool
    has_more_events: bool


class TaskEnding(Struct, frozen=True):
    """The result of a task, and what there is in its place."""

    task: Task
    result: Result | None
    takeover: TaskTakeover
    evidence: list[Evidence]


def asked(view: View, task_id: str) -> SubmittedTask:
    """The task with its content. NotFoundError."""
    task = _task(view, task_id)
    bodies = view.reader.load_many(TaskBody, (task_id,))
    return SubmittedTask(task, content_of(bodies[0]) if bodies else "", _needs(task), _place(task.reply_to))


def standing(view: View, task_id: str) -> Standing:
    """Its state, its place in the queue, the daemon that has it, its progress. NotFoundError."""
    task = _task(view, task_id)
    position = _position(view, task)
    lacks, has_worker = _lacks(view, _needs(task)) if position else ([], True)
    said, said_at = _progress(view, task)
    daemons = view.reader.load_many(Daemon, (task.waiting_for or (task.daemon_id if task.status == LEASED else ""),))
    daemon = view.daemon_as(daemons[0], DaemonJson) if daemons else None
    return Standing(task, status_word(task), position, lacks, has_worker, daemon, said, said_at)


def past(view: View, task_id: str) -> Past:
    """Its attempts and events. NotFoundError."""
    task = _task(view, task_id)
    attempts = attempts_of(task, view.reader.find(LAST_ATTEMPTS_OF, task_id, limit=ATTEMPTS_SHOWN + 1)[::-1])
    events = view.reader.list_events(EventFilter(task_id=task_id, limit=EVENTS_SHOWN + 1))
    shown = [event_json(stored.id, stored.event, view.redactor) for stored in events[-EVENTS_SHOWN:]]
    has_more = len(attempts) > ATTEMPTS_SHOWN, len(events) > EVENTS_SHOWN
    return Past(task, attempts[-ATTEMPTS_SHOWN:], shown, *has_more)


def ending(view: View, task_id: str) -> TaskEnding:
    """Its result, the hub's interim answer, the reports that came too late. NotFoundError."""
    task = _task(view, task_id)
    results = view.reader.load_many(Result, (task_id,)) if task.finished_at else []
    helped = view.reader.load_many(TaskTakeover, (task_id,)) or [TaskTakeover(task_id)]
    late = view.reader.find(EVIDENCE_OF, task_id, limit=EVIDENCE_SHOWN)
    return TaskEnding(task, results[0] if results else None, helped[0], late)


def _task(view: View, task_id: str) -> Task:
    found = view.reader.load_many(Task, (task_id,))
    if not found:
        raise NotFoundError("Task not found")
    return found[0]


def _needs(task: Task) -> list[str]:
    needs: list[str] = msgspec.json.decode(task.needs)
    return needs


def _place(reply_to: str) -> Place | None:
    try:
        return msgspec.json.decode(reply_to, type=Place)
    except ValueError:  # none, or one that cannot be read
        return None


def _position(view: View, task: Task) -> int:
    if not task.ready:
        return 0
    return view.reader.count(READY_BEFORE, task.order_key, task.id, limit=POSITION_MAX) + 1


def _lacks(view: View, needs: list[str]) -> tuple[list[str], bool]:
    """The tags that nobody offers, and whether one daemon offers all of them."""
    groups = [group for group in view.reader.daemon_groups() if group.state in WORKING and not group.paused]
    offers = [tags_of(group.provides, group.capabilities) for group in groups]
    offered = frozenset[str]().union(*offers)
    lacking = [] if UNTOLD in offered else [tag for tag in needs if tag not in offered]
    return lacking, any(covers(tags, frozenset(needs)) for tags in offers)


def _progress(view: View, task: Task) -> tuple[str, int]:
    for row in view.reader.load_many(Progress, (task.id,)) if task.status == LEASED else ():
        if row.token == task.token and row.progress:
            said: Any = as_stored(row.progress)
            return progress_said(said), row.at
    return "", 0
