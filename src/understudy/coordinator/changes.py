"""Decisions as data: the noun as it stands, rows to save, events to append, an answer.

They are trees, of which a batch makes thousands: the garbage collector need not follow them (`gc`).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Generic, TypeVar

from msgspec import Struct

from understudy.coordinator.nouns import Now

N = TypeVar("N")


class Event(Struct, frozen=True, gc=False):
    """A change that people and programs may read later; `task_id` and `daemon_id` say whose story it is."""

    at: int
    level: str
    name: str
    component: str
    message: str
    fields: dict[str, Any]
    task_id: str = ""
    daemon_id: str = ""
    live_only: bool = False  # too frequent to keep: shown to readers who follow live, never stored


def make_event(
    now: Now,
    name: str,
    message: str,
    fields: dict[str, Any],
    *,
    level: str = "info",
    component: str = "TaskCoordinator",
    task_id: str = "",
    daemon_id: str = "",
) -> Event:
    """An event of this instant; fields that are None are left out."""
    kept = {key: value for key, value in fields.items() if value is not None}
    return Event(now.wall, level, name, component, message, kept, task_id, daemon_id)


class Change(Struct, Generic[N], frozen=True, gc=False):
    """The outcome of a rule: its noun as it stands afterwards, other rows to save, and events."""

    noun: N
    save: tuple[Struct, ...] = ()  # beside the noun
    events: tuple[Event, ...] = ()

    @property
    def rows(self) -> tuple[Any, ...]:
        """All that is saved, the noun first."""
        return (self.noun, *self.save)

    def decision(self, answer: Any, delete: tuple[tuple[type[Struct], str], ...] = ()) -> Decision:
        """All of it as the outcome of an operation, with this answer."""
        return Decision(answer, self.rows, self.events, delete)


class Decision(Struct, frozen=True, gc=False):
    """The outcome of an operation: rows to save, events to append, rows to drop, and the answer."""

    answer: Any = None
    save: tuple[Struct, ...] = ()
    events: tuple[Event, ...] = ()
    delete: tuple[tuple[type[Struct], str], ...] = ()


class Removal(Struct, frozen=True, gc=False):
    """An answer that is known only after the rows are gone: whether there may be more of this kind.

    It is carried out last in its transaction: a row that this transaction changed is judged by what it is now.
    """

    what: str  # a kind of the purge plan
    before: int  # an instant, or how many rows of it are kept
    limit: int


class Draft:
    """The rows to save and the events that an operation gathers while it decides, in their order."""

    def __init__(self) -> None:
        self.save: list[Struct] = []
        self.events: list[Event] = []

    def take(self, change: Change[N]) -> N:
        """Note the rows and events of a change → its noun as it stands now."""
        self.save += change.rows
        self.events += change.events
        return change.noun

    def pass_on(self, change: Change[N]) -> N:
        """Note all of a change but its noun, which goes into a later one → the noun."""
        self.save += change.save
        self.events += change.events
        return change.noun

    def add(self, save: Iterable[Struct] = (), events: Iterable[Event] = ()) -> None:
        """Note rows and events that are no change of a noun."""
        self.save += save
        self.events += events

    def change(self, noun: N) -> Change[N]:
        """All of it, as the change of this noun."""
        return Change(noun, tuple(self.save), tuple(self.events))

    def decision(self, answer: Any, delete: tuple[tuple[type[Struct], str], ...] = ()) -> Decision:
        """All of it, with this answer."""
        return Decision(answer, tuple(self.save), tuple(self.events), delete)
