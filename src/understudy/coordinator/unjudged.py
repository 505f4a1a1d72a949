"""Rows that a rule fails on: put off and reported, so that nothing else waits for them."""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace

from understudy.coordinator.changes import Event, make_event
from understudy.coordinator.nouns import LEASED, Daemon, Directive, Now, Task

AGAIN_MS = 60_000


def put_off(row: Struct, now: Now) -> Struct | None:
    """The row with its deadline a minute from now, so that the alarm does not ring for it all the time."""
    match row:
        case Task() if row.status == LEASED:
            return replace(row, expires_h=now.h + AGAIN_MS)
        case Task():
            return replace(row, available_at=now.wall + AGAIN_MS)
        case Daemon():
            return replace(row, deadline_h=now.h + AGAIN_MS)
        case Directive():
            return replace(row, expires_h=now.h + AGAIN_MS)
    return None


def name_of(noun: str, key: str) -> str:
    """An incident of its own: it makes one notice."""
    return f"unjudged:{noun}:{key}"


def left_out(noun: str, key: str, why: str, now: Now, task_id: str = "", daemon_id: str = "") -> Event:
    """The event of a row that is left out."""
    message = f"{noun.capitalize()} {key} cannot be judged and is left out: {why}"
    fields = {"row": noun, "id": key, "reason": why, "incidentId": name_of(noun, key)}
    return make_event(now, "hub.unjudged", message, fields, level="warning", task_id=task_id, daemon_id=daemon_id)
