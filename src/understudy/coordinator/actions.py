"""Decisions as data: what to save, what to tell, what to answer. Nothing here does anything."""

from __future__ import annotations

from typing import Any

from msgspec import Struct


class Event(Struct, frozen=True):
    """A change that people and programs may read later; `task_id` and `daemon_id` say whose story it is."""

    at: int
    level: str
    name: str
    component: str
    message: str
    fields: dict[str, Any]
    task_id: str = ""
    daemon_id: str = ""
    live_only: bool = False  # too frequent to keep: shown to whoever follows, never stored


class Decision(Struct, frozen=True):
    """The outcome of a rule: rows to save, events to append, rows to drop, and the answer."""

    answer: Any = None
    save: tuple[Struct, ...] = ()
    events: tuple[Event, ...] = ()
    delete: tuple[tuple[type[Struct], str], ...] = ()
