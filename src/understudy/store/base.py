"""The seam: generic load and save, and a handful of named queries; the tables are in `tables.py`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar, runtime_checkable

from msgspec import Struct

from understudy.clock import Clock
from understudy.coordinator.changes import Event
from understudy.coordinator.nouns import (
    Daemon,
    Directive,
    Notice,
    Task,
    Usage,
)
from understudy.coordinator.takeover import Reach
from understudy.coordinator.takeover_nouns import DaemonGroup
from understudy.store.queries import Finder, PartFinder, Query, Series

N = TypeVar("N", bound=Struct)
T = TypeVar("T")
Claimant = tuple[frozenset[str], frozenset[str]]  # what a worker provides, and the names that it answers to
UNREADABLE_SPEC = '{"unreadable":true}'  # stands for a task's content that is lost: nobody is given it
UNREADABLE_MAX = 1_000  # rows that are remembered as unreadable


class StoredEvent(Struct):
    """An event as it was committed, with its place in the log; `id` 0 for what is live only.

    Where a store gives places with the COMMIT, `id` is 0 until then.
    """

    id: int
    event: Event


class Room(Struct):
    """The bytes that a store holds, and those that its disk has free: by the last look, and what was taken since."""

    used_bytes: int
    free_bytes: int

    def take(self, size_bytes: int) -> None:
        """Count bytes that are about to be written; what is rolled back stays counted until the next look."""
        self.used_bytes += size_bytes
        self.free_bytes -= size_bytes


class Due(Struct, frozen=True):
    """The rows that the alarm must look at now, each list bounded by the limit asked for."""

    leases: list[Task]
    delayed: list[Task]
    daemons: list[Daemon]
    directives: list[Directive] = []


class Deadlines(Struct, frozen=True):
    """The nearest deadlines: in hearing time for leases and health, in wall time for delays; 0: none."""

    lease_h: int
    health_h: int
    available_at: int
    directive_h: int = 0


class Backlog(Struct, frozen=True):
    """The state of one channel's outbox."""

    channel: str
    waiting: int  # that should have been sent by now
    oldest_at: int  # when the oldest of them was first to be sent; 0: none
    dead: int
    last_error: str  # of what has failed and waits or is dead; "": nothing


class Candidates(Struct, frozen=True):
    """A filter of the tasks that takeover may answer: those that need text only, or those that wait for a machine."""

    sources: tuple[str, ...]
    others: bool  # every source but these
    text: bool
    limit: int = 8
    reach: Reach | None = None  # of those that wait for a machine only the ones for which it may open


class TaskFilter(Struct, frozen=True):
    """A filter of tasks for a list, newest first; "" and 0 mean any."""

    status: str = ""
    source: str = ""
    submitter: str = ""
    daemon_id: str = ""  # that has or had the latest lease
    text: str = ""
    before_key: int = 0
    before_id: str = ""
    limit: int = 50


class EventFilter(Struct, frozen=True):
    """A filter of events for a list; `after_id` and `before_id` bound it, 0 means open."""

    text: str = ""
    levels: tuple[str, ...] = ()
    since_at: int = 0
    after_id: int = 0
    before_id: int = 0
    task_id: str = ""
    limit: int = 100
    names_only: bool = False  # of each event only its place and its name are read


class Found(Struct, frozen=True):
    """A row with something that cannot be read."""

    noun: type[Struct]
    key: str
    why: str


class Unreadable:
    """The rows of a store that could not be read whole since it was opened; bounded. Used from every thread."""

    def __init__(self) -> None:
        self.found: list[Found] = []
        self._known: set[tuple[type[Struct], str]] = set()

    def note(self, noun: type[Struct], key: str, why: str) -> None:
        """Remember it, once."""
        if (noun, key) not in self._known and len(self.found) < UNREADABLE_MAX:
            self._known.add((noun, key))
            self.found.append(Found(noun, key, why))


class Reader(Finder, PartFinder, Protocol):
    """A consistent view of the store; every list it returns is bounded by its caller."""

    unreadable: Unreadable

    def now_ms(self, clock: Clock) -> int:
        """The wall clock of this store, ms since the epoch: `clock`'s, or that of the database that several hubs share.

        In a transaction it is asked after rows are loaded, so that it is not before a change that they show.
        """
        ...

    def load_many(self, noun: type[N], keys: Collection[Any]) -> list[N]:
        """The rows of these keys that exist, in no order (a tuple is a key of several columns)."""
        ...

    def load_each(self, wanted: Mapping[type[Struct], Collection[Any]]) -> dict[type[Struct], list[Any]]:
        """The same of several nouns, in their order, at the cost of one."""
        ...

    def load_all(self, noun: type[N], limit: int, after: Any = None) -> list[N]:
        """Up to `limit` rows, in key order; with `after` (as the keys of `load_many`) those of greater keys."""
        ...

    def claimable(self, provides: frozenset[str], limit: int) -> list[Task]:
        """Claimable tasks whose needs are covered, in the order of the queue."""
        ...

    def offered(self, claims: Mapping[Claimant, int]) -> tuple[dict[frozenset[str], list[Task]], list[Task]]:
        """The claimable tasks for each set of tags, and the reserved ones, for claims of so many tasks."""
        ...

    def reserved(self, claims: Mapping[Claimant, int]) -> list[Task]:
        """The tasks that wait for one of these claimants and whose needs it covers, in the order of the queue.

        For each as many as it may get while others of the same name get theirs.
        """
        ...

    def room(self) -> Room:
        """The bytes in use and free; cheap."""
        ...

    def count(self, query: Query[Any], *values: Any, limit: int) -> int:
        """The number of rows, counted up to `limit`."""
        ...

    def gathered(self, series: Series[Any], from_at: int, to_at: int, bucket_ms: int) -> dict[int, tuple[int, ...]]:
        """The values of each bucket that has rows, by its place among them, counted from `from_at`."""
        ...

    def daemon_states(self) -> dict[str, int]:
        """The number of daemons in each state that any is in; kept as a sum with every change of one."""
        ...

    def new_needs(self, needs: Collection[str], limit: int) -> tuple[set[str], int]:
        """Those that no unfinished task has, and, if there are any, how many sets these have, counted up to `limit`."""
        ...

    def due(self, h: int, wall: int, limit: int) -> Due:
        """The rows whose deadline has come."""
        ...

    def next_deadlines(self) -> Deadlines:
        """The nearest deadlines of each kind."""
        ...

    def ready_ids(self, limit: int) -> list[str]:
        """The ids of claimable tasks in the order of the queue."""
        ...

    def list_tasks(self, wanted: TaskFilter) -> list[Task]:
        """Tasks, newest first; with a text, those that `search.task_text` finds it in (folded)."""
        ...

    def list_events(self, wanted: EventFilter) -> list[StoredEvent]:
        """Events in their order: the last `limit` of those wanted, or the first after `after_id`.

        With a text, those that `search.event_text` finds it in (folded).
        """
        ...

    def last_event_id(self) -> int:
        """The last place that was given in the event log, also if that event is purged; 0: none was."""
        ...

    def open_batches(self) -> frozenset[str]:
        """Marks of the transactions that are open now and may still append events; each is one that no other has had.

        What they have committed is in every snapshot that begins once their mark is gone.
        """
        ...

    def message_ids(self, user_id: str) -> list[str]:
        """The ids of all messages of a user, of any owner."""
        ...

    def notices_due(self, channel: str, wall: int, limit: int) -> list[Notice]:
        """The rows that are due for a channel and that no hub is sending: notices and tests, then the rest.

        Of each the longest due come first.
        """
        ...

    def next_notice_at(self, channel: str) -> int:
        """The instant at which the next notice of a channel is due; 0: none waits."""
        ...

    def oldest_notice_at(self, wall: int) -> int:
        """Since when the oldest notice that should have been sent by now is due; 0: none."""
        ...

    def backlogs(self, wall: int) -> list[Backlog]:
        """Each channel that has anything waiting or dead."""
        ...

    def last_events_of(self, daemon_id: str, limit: int, names: Collection[str] = ()) -> list[StoredEvent]:
        """The last events of a daemon's story ("": of all), of these names if any are given, oldest first.

        What is long past is not found.
        """
        ...

    def daemon_groups(self) -> list[DaemonGroup]:
        """All daemons, gathered (read whole, so not for hot paths)."""
        ...

    def candidates(self, wanted: Candidates, h: int) -> list[Task]:
        """Tasks that takeover may answer at this hearing instant, in the order of the queue."""
        ...


class Transaction(Reader, Protocol):
    """A reader that may also write; nothing is kept unless the whole transaction is."""

    def lock(self, names: Collection[str]) -> None:
        """Wait until no other transaction has one of these names, and have them until the end; for rows to come."""
        ...

    def save_many(self, rows: Sequence[Struct]) -> None:
        """Insert or replace rows, of one noun or several."""
        ...

    def add_usage(self, more: Sequence[Usage]) -> None:
        """Add to what keys have used; a task that is removed takes its own part away by itself."""
        ...

    def append_events(self, events: Sequence[Event]) -> list[StoredEvent]:
        """Append to the event log and say which places they got."""
        ...

    def place_events(self, stored: Sequence[StoredEvent], last_id: int) -> None:
        """Put events into the log at their own free places; the next that is appended comes after `last_id` too."""
        ...

    def delete_many(self, noun: type[Struct], keys: Collection[Any]) -> None:
        """Remove rows by key."""
        ...

    def move_pauses(self, by_ms: int, before: int) -> None:
        """Move whatever waits for a while (not for an instant that somebody named) with the wall clock.

        `before` is what the clock would show now had it not been moved.
        """
        ...

    def purge(self, what: str, before: int, limit: int) -> int:
        """Remove up to `limit` rows of one kind older than `before`; how many were removed."""
        ...


class Store(Protocol):
    """A backend. Calls block; `fn` may run again after a deadlock or a serialization failure."""

    @property
    def is_shared(self) -> bool:
        """True if several hubs may use it at the same time."""
        ...

    def transaction(self, fn: Callable[[Transaction], T], *, alone: bool = True) -> T:
        """Run `fn` and commit durably, or keep nothing and raise StoreError.

        Alone: no other transaction of any hub that writes is open meanwhile. Otherwise others may be, and what is read
        here of the nouns in `tables.LOCKED` is locked; docs/adr/0015-beside-or-alone.md.
        """
        ...

    def read(self, fn: Callable[[Reader], T], within_ms: int = 0) -> T:
        """Run `fn` on a consistent snapshot that cannot write; SlowReadError when it takes longer, 0: without end."""
        ...

    def close(self) -> None:
        """Let go of every connection."""
        ...


@runtime_checkable
class CommitsApart(Protocol):
    """A store whose transactions can be decided on one thread and committed on another, one at a time."""

    def prepare(self, fn: Callable[[Transaction], T]) -> T:
        """Run `fn` in a transaction that `commit` ends. Raises, and keeps nothing, also where it would have to wait."""
        ...

    def commit(self) -> None:
        """Make durable what was prepared, or keep nothing and raise StoreDownError; mostly a wait for the disk."""
        ...

    def confirm(self) -> None:
        """Raise StoreDownError if what was committed just now must not be acknowledged."""
        ...


@runtime_checkable
class SignallingStore(Protocol):
    """A store that carries hints between hubs. Any of them may be lost: nothing depends on one."""

    def signal(self, payload: str) -> None:
        """Send up to 7,000 bytes to every hub that listens, perhaps also to this one; StoreError if it cannot."""
        ...

    def listen(self, on_signal: Callable[[str], None]) -> Callable[[], None]:
        """Call it, from a thread of the store, with each payload, and with "" when some may have been lost.

        What is returned ends it.
        """
        ...


@runtime_checkable
class Versioned(Protocol):
    """A store whose schema another version of the program may change while this one uses it."""

    def misfit(self) -> str:
        """The reason for which this version must not use it any more; "" while it may. StoreError."""
        ...


@runtime_checkable
class WatchedStore(Protocol):
    """A store on files that others can delete, replace or damage."""

    def look(self) -> str:
        """The fault for which everything is refused; "" for none. Cheap."""
        ...

    def check(self) -> str:
        """Read the whole store → what is wrong; "" if it is proven well, and used again from here on."""
        ...

    def trouble(self) -> str:
        """The fault for which everything is refused, without another look at the content."""
        ...

    def rescue(self, now_ms: int) -> Path:
        """Save what was committed beside files that were lost; OSError or StoreError if that is not possible."""
        ...
