"""Rows that a loop over rows cannot judge: reported once, left out, and tried again later. Nothing else waits for them.

What a row holds was readable when it was written; a later version, a smaller machine (no time zones) or a damaged
file may not be able to read it. An alarm that fails for one row would fail for all of them, without end.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from msgspec import Struct

from understudy.coordinator import unjudged
from understudy.coordinator.changes import Change, Draft, Event
from understudy.coordinator.nouns import Daemon, Now, Task
from understudy.errors import StoreError
from understudy.hub.working_set import WorkingSet
from understudy.store.base import Found

WHY_CHARS_MAX = 200


def each(draft: Draft, work: WorkingSet, row: Struct, judge: Callable[[], Change[Any] | None], now: Now) -> None:
    """Note what `judge` makes of this row; if it cannot, the row is put off, with one event."""
    try:
        change = judge()
    except StoreError:
        raise
    except Exception as bug:  # noqa: BLE001 - whatever is wrong with one row must not stop those after it
        later = unjudged.put_off(row, now)
        draft.add((later,) if later is not None else (), tell_once(work, row, said_of(bug), now))
        return
    if change is not None:
        draft.take(change)


def said_of(bug: Exception) -> str:
    """The error in one short line."""
    return f"{type(bug).__name__}: {bug}"[:WHY_CHARS_MAX]


def tell_unreadable(work: WorkingSet, found: Sequence[Found], now: Now) -> tuple[Event, ...]:
    """An event about each row that the store could not read whole."""
    return tuple(event for one in found for event in _reported(work, one.noun.__name__.lower(), one.key, one.why, now))


def tell_once(work: WorkingSet, row: Struct, why: str, now: Now) -> tuple[Event, ...]:
    """An event about this row, unless this hub has reported it since it was started."""
    noun, key = type(row).__name__.lower(), str(getattr(row, "id", "") or getattr(row, "task_id", ""))
    daemon_id = key if isinstance(row, Daemon) else str(getattr(row, "daemon_id", ""))
    task_id = key if isinstance(row, Task) else str(getattr(row, "task_id", ""))
    return _reported(work, noun, key, why, now, task_id, daemon_id)


def _reported(
    work: WorkingSet, noun: str, key: str, why: str, now: Now, task_id: str = "", daemon_id: str = ""
) -> tuple[Event, ...]:
    name = unjudged.name_of(noun, key)
    if name in work.reported_before or name in work.reported_now:
        return ()
    work.reported_now.add(name)
    return (unjudged.left_out(noun, key, why, now, task_id, daemon_id),)
