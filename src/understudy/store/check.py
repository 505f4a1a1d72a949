"""The invariants of a store over all of its rows, in place and read only (coordinator/invariants.py lists them)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from msgspec import Struct

from understudy.clock import Clock
from understudy.coordinator.hearing import hear
from understudy.coordinator.invariants import (
    Fault,
    Shares,
    TaskRows,
    daemon_faults,
    hearing_faults,
    incident_faults,
    instant_of,
    notice_faults,
    period_faults,
    state_faults,
    task_faults,
)
from understudy.coordinator.nouns import (
    Attempt,
    Boot,
    Daemon,
    Directive,
    Hearing,
    Incident,
    Notice,
    Now,
    Period,
    Progress,
    Result,
    Task,
    TaskBody,
    Usage,
)
from understudy.coordinator.takeover_nouns import TaskTakeover
from understudy.store.base import Found, Reader
from understudy.store.tables import TABLES, StoreCopy
from understudy.store.walk import EVENTS, by_first_key, count_of, event_pages, events_at_most, pages

N = TypeVar("N", bound=Struct)
Progressed = Callable[[str, int], None]  # the table, and how many more of its rows have been read
FAULTS_MAX = 1_000  # that are kept; all are counted
OF_TASKS = (Task, TaskBody, Attempt, Result, Progress, TaskTakeover)


class Report(Struct, frozen=True):
    """The outcome of a check."""

    rows: dict[str, int]  # read, by table
    faults: list[Fault]  # the first FAULTS_MAX
    fault_count: int
    unreadable: list[Found]

    @property
    def is_sound(self) -> bool:
        """True if nothing was found."""
        return not self.fault_count and not self.unreadable


def totals(reader: Reader) -> dict[str, int]:
    """The rows that a check will read, by table; of events at most."""
    return {table.name: count_of(reader, noun) for noun, table in TABLES.items()} | {EVENTS: events_at_most(reader)}


def check(reader: Reader, clock: Clock, progressed: Progressed | None = None) -> Report:
    """Read every row and compare; the reader stands for one moment, and holds one page at a time."""
    return _Checkup(reader, reader.now_ms(clock), progressed or (lambda *_: None)).report()


class _Checkup:
    """One look at everything."""

    def __init__(self, reader: Reader, wall_ms: int, progressed: Progressed) -> None:
        self._reader = reader
        self._progressed = progressed
        self._rows: Counter[str] = Counter()
        self._faults: list[Fault] = []
        self._count = 0
        hearings = reader.load_all(Hearing, 2)
        self._at = instant_of(*_heard(hearings, wall_ms))
        self._take(hearing_faults(hearings))

    def report(self) -> Report:
        """The outcome of all parts."""
        self._take(self._unfinished())
        self._tasks()
        self._daemons()
        self._notices()
        self._periods()
        self._events()
        for noun, table in TABLES.items():
            if table.name not in self._rows:
                for _ in self._pages(noun):
                    pass
            self._take(self._unread(noun))
        unreadable = self._reader.unreadable.found
        return Report(dict(self._rows), self._faults, self._count, list(unreadable))

    def _unfinished(self) -> Iterator[Fault]:
        """A store that another one is being copied into."""
        for page in self._pages(StoreCopy):
            for row in page:
                yield Fault("copy_unfinished", row.source, {"rows": row.rows})

    def _take(self, faults: Iterable[Fault]) -> None:
        for fault in faults:
            self._count += 1
            if len(self._faults) < FAULTS_MAX:
                self._faults.append(fault)

    def _pages(self, noun: type[N]) -> Iterator[list[N]]:
        """All rows of a noun, counted."""
        name = TABLES[noun].name
        self._rows[name] += 0
        for page in pages(self._reader, noun):
            self._note(name, len(page))
            yield page

    def _note(self, table: str, rows: int) -> None:
        self._rows[table] += rows
        self._progressed(table, rows)

    def _unread(self, noun: type[Struct]) -> Iterator[Fault]:
        """Rows with a key that cannot be read are in no page."""
        name = TABLES[noun].name
        missing = count_of(self._reader, noun) - self._rows[name]
        if missing:
            yield Fault("unread_rows", name, {"count": missing})

    def _tasks(self) -> None:
        shares = Shares()
        for task_id, rows in by_first_key({noun: self._pages(noun) for noun in OF_TASKS}):
            found = _rows_of(rows)
            if found.task is not None:
                shares.add(found.task)
            self._take(task_faults(task_id, found, self._at))
        self._take(shares.faults(row for page in self._pages(Usage) for row in page))

    def _daemons(self) -> None:
        open_ones = {row.id: row for page in self._pages(Incident) for row in page if row.state != "recovered"}
        asked = Counter(row.daemon_id for page in self._pages(Directive) for row in page if not row.ended_at)
        states = Counter[str]()
        for daemon_id, rows in by_first_key({Daemon: self._pages(Daemon), Boot: self._pages(Boot)}):
            superseded = [boot.boot_id for boot in rows.get(Boot, ())]
            for daemon in rows.get(Daemon, ()):
                states[daemon.state] += 1
                incident = open_ones.get(daemon.incident_id)
                self._take(daemon_faults(daemon, incident, asked[daemon_id], superseded))
                if incident is not None and incident.daemon_id == daemon_id:
                    del open_ones[incident.id]
        for incident in open_ones.values():
            self._take(incident_faults(incident, None))
        self._take(state_faults(self._reader.daemon_states(), states))

    def _notices(self) -> None:
        for page in self._pages(Notice):
            about = {notice.incident_id for notice in page if notice.state == "waiting" and notice.incident_id}
            incidents = {row.id: row for row in self._reader.load_many(Incident, sorted(about))}
            for notice in page:
                self._take(notice_faults(notice, incidents, self._at))

    def _periods(self) -> None:
        lasting: Period | None = None
        for page in self._pages(Period):
            for period in page:
                self._take(period_faults(lasting, period))
                lasting = lasting if period.to_at else period

    def _events(self) -> None:
        """Their places grow by the order of reading; the next one must come after all of them."""
        last, before = self._reader.last_event_id(), 0
        for page in event_pages(self._reader):
            self._note(EVENTS, len(page))
            before = page[-1].id
        if before > last:
            self._take((Fault("event_place", str(before), {"last": last}),))


def _heard(hearings: list[Hearing], wall_ms: int) -> tuple[Hearing, Now]:
    hearing = hearings[0] if hearings else Hearing()
    return hearing, hear(hearing, wall_ms)[1]


def _rows_of(rows: dict[type[Struct], list[Any]]) -> TaskRows:
    """All rows of one task id."""
    others = tuple(TABLES[noun].name for noun in (Progress, TaskTakeover) if noun in rows)
    return TaskRows(
        next(iter(rows.get(Task, ())), None),
        rows.get(Attempt, ()),
        next(iter(rows.get(Result, ())), None),
        TaskBody in rows,
        others,
    )
