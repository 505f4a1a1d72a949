"""Messages for the submitter of a task: begun, progress, and the answer or the reason why there is none.

One status message a task (begun, progress), changed at most every few seconds; and one answer, once. Both are rows of
the outbox, for the place of origin (`replyTo`) or the default one. Takeover adds messages: an event of a task whose
name is in ASIDES makes one, once for each name and token. A task's id may be used again: the instant at which the task
was queued (ASKED_AT among the facts) tells its messages from those of a task before it. Only where such an older
message has the id of a message is that instant a part of the id: hubs of earlier versions know the other one alone.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from understudy.coordinator.changes import Event
from understudy.coordinator.notices import OutboxDraft, facts_of, is_untried, notice_id, read_facts
from understudy.coordinator.nouns import Notice, Progress, Task
from understudy.coordinator.routes import Routes
from understudy.redact.cutting import beginning

STATES = {
    "task.claimed": "started",
    "task.retrying": "retrying",
    "task.waiting": "waiting",
    "task.done": "done",
    "task.failed": "failed",
    "task.cancelled": "cancelled",
}
FINAL = frozenset({"task.done", "task.failed", "task.cancelled"})
ASIDES = frozenset({"takeover.kept", "takeover.interim"})
READABLE = frozenset({"task.done", "task.failed", "takeover.interim"})  # an answer that a link may show
WITH_MESSAGE = frozenset({*STATES, *ASIDES})
ASKED_AT = "askedAt"
CORRECTS = "corrects"  # among the facts of an answer that comes after another one
STARTED_AFTER_MS = 1_500  # what is answered sooner needs no word that it has begun
CHANGED_EVERY_MS = 3_000
CLOSED_AFTER_MS = 500  # the answer first
PROGRESS_CHARS_MAX = 500


class Place(Struct, frozen=True):
    """The place of an answer: a channel by its name, and a chat and thread in it ("": the channel's own)."""

    channel: str
    chat: str = ""
    thread: str = ""


def place_of(task: Task, routes: Routes) -> Place | None:
    """The place of a task's answer, if it has one; a channel that takes alarms only is none."""
    for text in (task.reply_to, routes.reply_to):
        try:
            place = msgspec.json.decode(text, type=Place)
        except ValueError:  # none, or one that cannot be read
            continue
        if place.channel not in routes.joining:
            return place
    return None


def add_answer(outbox: OutboxDraft, event: Event, task: Task) -> None:
    """Add the messages of a task's event for its submitter."""
    place = place_of(task, outbox.routes)
    if place is None:
        return
    if event.name in ASIDES:
        key = _id(outbox, event.name, task, place, str(task.token))
        outbox.add(_row(outbox, task, place, "answer", key, event.name, _facts(task, **event.fields)))
        return
    said = {"state": STATES[event.name], **event.fields}
    facts = _facts(task, **said)
    key = _id(outbox, "final", task, place, str(task.token))
    known = outbox.rows.get(key)
    if event.name not in FINAL:
        if event.name == "task.retrying" and known is not None and is_untried(known):
            outbox.fold(known, "tried again before it was told")
        _status(outbox, task, place, event.name, facts, STARTED_AFTER_MS)
        return
    _close_status(outbox, task, place, event.name, facts)
    final = _row(outbox, task, place, "answer", key, event.name, facts)
    if known is None or known.state == "folded":
        outbox.put(final)
    elif known.cause != event.name:  # failed as lost, then its result came after all
        corrected = _facts(task, **said, **{CORRECTS: True})
        outbox.put(replace(final, facts=corrected, ref=known.ref, created_at=known.created_at))


def add_progress(outbox: OutboxDraft, progress: Progress, task: Task) -> None:
    """The status message says how far it is."""
    place = place_of(task, outbox.routes)
    if place is not None and progress.progress:
        said = _decoded(progress.progress)
        text = said if isinstance(said, str) else progress.progress
        facts = _facts(task, state="running", text=beginning(text, PROGRESS_CHARS_MAX))
        _status(outbox, task, place, "progress", facts, STARTED_AFTER_MS)


def _decoded(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except ValueError:
        return None


def is_about(notice: Notice, task: Task) -> bool:
    """True if a message is about this task, and not about another one that had its id before."""
    return notice.task_id == task.id and read_facts(notice).get(ASKED_AT, task.queued_at) == task.queued_at


def _facts(task: Task, **facts: object) -> str:
    return facts_of(**facts, **{ASKED_AT: task.queued_at})


def _id(outbox: OutboxDraft, what: str, task: Task, place: Place, *more: str) -> str:
    """The id of a message: without the instant of its task, unless a message of an older task has that id."""
    usual = notice_id(what, task.id, *more, place.channel)
    own = notice_id(what, task.id, str(task.queued_at), *more, place.channel)
    known = outbox.rows.get(usual)
    return own if own in outbox.rows or (known is not None and not is_about(known, task)) else usual


def _status(outbox: OutboxDraft, task: Task, place: Place, cause: str, facts: str, after_ms: int) -> None:
    key = _id(outbox, "status", task, place)
    known = outbox.rows.get(key)
    if known is None:
        row = _row(outbox, task, place, "progress", key, cause, facts)
        outbox.put(replace(row, next_at=row.next_at + after_ms, due_at=row.due_at + after_ms))
    elif known.state == "waiting":
        outbox.put(replace(known, cause=cause, facts=facts))
    elif known.state == "sent" and known.facts != facts:
        outbox.put(changed_again(known, cause, facts, outbox.now.wall))


def changed_again(known: Notice, cause: str, facts: str, wall: int) -> Notice:
    """A status message that is there already, to be changed: not sooner than some seconds after the last time."""
    at = max(wall, min(known.sent_at, wall) + CHANGED_EVERY_MS)
    return replace(known, cause=cause, facts=facts, state="waiting", attempts=0, next_at=at, due_at=at, part=0)


def _close_status(outbox: OutboxDraft, task: Task, place: Place, cause: str, facts: str) -> None:
    known = outbox.rows.get(_id(outbox, "status", task, place))
    if known is None or known.state not in ("waiting", "sent"):
        return
    wall = outbox.now.wall
    if not known.sent_at and not known.taken_until:
        outbox.fold(known, "answered before it was due")
    elif known.state == "waiting":
        outbox.put(replace(known, cause=cause, facts=facts, next_at=max(wall + CLOSED_AFTER_MS, known.taken_until)))
    else:
        at = wall + CLOSED_AFTER_MS
        outbox.put(replace(changed_again(known, cause, facts, wall), next_at=at, due_at=at))


def _row(outbox: OutboxDraft, task: Task, place: Place, kind: str, key: str, cause: str, facts: str) -> Notice:
    wall = outbox.now.wall
    level = "warning" if cause == "task.failed" else "info"
    return Notice(
        key,
        place.channel,
        kind,
        cause,
        level,
        task_id=task.id,
        daemon_id=task.daemon_id,
        facts=facts,
        chat=place.chat,
        thread=place.thread,
        next_at=wall,
        due_at=wall,
        created_at=wall,
    )
