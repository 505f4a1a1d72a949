"""Copies all rows of one store into another that is empty, so that a kill at any moment costs only the page under way.

Theory of operation
-------------------
Both stores are alone: no hub uses either. Tables are read page by page in key order and saved as they are; events keep
their places, and the next event comes after all that the source ever gave.

1. The row `StoreCopy` of the target names the source, its state, and the last key that is here. It is saved in the
   transaction of each page, so it is true after every kill. While it stands no hub starts on the target.
2. A target without that row must hold nothing. With it, a run goes on where the last one stopped, but only if it is the
   same source in the same state: a hub that ran on it in between would have written events.
3. At the end all rows of both stores are read again: counts and checksums of each table must be equal. A checksum is
   the sum of the hashes of all rows, so it does not depend on their order. Then the row `StoreCopy` goes.

Tokens are in the rows, so they only grow in the target too. Hearing time is a row like others: when a hub starts on the
target, the time of the move is a gap to it, and nobody is late because of it.

Doubts. A text with a NUL becomes one with U+FFFD on PostgreSQL; checksums count both as the same, and two keys that
differ only there become one, which the counts show. A row that cannot be read is copied with its stand-ins, as a hub
would save it, and only if that was asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from hashlib import sha256
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import astuple, replace

from understudy.clock import Clock
from understudy.coordinator.nouns import Deployment, Hearing
from understudy.errors import StoreError, UnderstudyError
from understudy.store.base import Reader, Store, StoredEvent, Transaction
from understudy.store.check import totals
from understudy.store.queries import DEPLOYMENTS
from understudy.store.tables import TABLES, StoreCopy
from understudy.store.walk import EVENTS, count_of, event_pages, pages

NOUNS = {table.name: noun for noun, table in TABLES.items() if noun is not StoreCopy}
ORDER = (*NOUNS, EVENTS)
SUM_BITS = 256
STARTS_SEEN = 5
Progressed = Callable[[str, int], None]  # the table, and how many more of its rows are done


class CopyError(UnderstudyError):
    """A copy that cannot begin, go on or be trusted; `code` names the text `cli.store.copy.CODE`."""

    def __init__(self, reason: str, **facts: str | int) -> None:
        super().__init__(f"{reason}: {facts}", **facts)
        self.reason = reason
        self.facts = facts


class Sum(Struct):
    """The rows of a table: how many, and the sum of their hashes."""

    rows: int = 0
    sum: int = 0

    def add(self, row: tuple[Any, ...]) -> None:
        """Count a row."""
        self.rows += 1
        digest = sha256(msgspec.msgpack.encode([_comparable(value) for value in row])).digest()
        self.sum = (self.sum + int.from_bytes(digest, "big")) % (1 << SUM_BITS)

    @property
    def shown(self) -> str:
        """The sum as people compare it."""
        return f"{self.sum:064x}"[:16]


def _comparable(value: Any) -> Any:
    return value.replace("\0", "\ufffd") if isinstance(value, str) else value


def refuse_unfinished(store: Store) -> None:
    """StoreError for a store that is only half there: a hub would begin with what has been copied so far."""
    for row in store.read(lambda reader: reader.load_all(StoreCopy, 1)):
        raise StoreError(
            f"Store unavailable: the copy of {row.source} into it is not finished: "
            "run `understudy store copy` with the same two stores again"
        )


def state_of(reader: Reader) -> str:
    """A mark of a store that changes with every start of a hub on it, and with all that is worth an event."""
    starts: Sequence[Deployment] = reader.find(DEPLOYMENTS, limit=STARTS_SEEN)
    rows = [*reader.load_all(Hearing, 1), *starts]
    facts = [reader.last_event_id(), *(list(astuple(row)) for row in rows)]
    return sha256(msgspec.msgpack.encode(facts)).hexdigest()


def is_empty(reader: Reader) -> bool:
    """True if a store holds nothing but what its migrations make."""
    hearings = reader.load_all(Hearing, 2)
    others = (noun for noun in TABLES if noun is not Hearing)
    return hearings == [Hearing()] and not reader.last_event_id() and not any(reader.load_all(n, 1) for n in others)


class Copying:
    """One copy, from its beginning or from where another run stopped."""

    def __init__(
        self, source: Store, target: Store, names: tuple[str, str], clock: Clock, *, with_stand_ins: bool = False
    ) -> None:
        self._source, self._target = source, target
        self._name, self._target_name = names
        self._clock = clock
        self._with_stand_ins = with_stand_ins
        self.totals: dict[str, int] = source.read(totals)
        self.totals.pop(TABLES[StoreCopy].name)
        self.left_out = 0  # rows with a key that cannot be read; only where stand-ins are wanted
        self._row = self._saved = StoreCopy()  # the state of this run, and that of the target

    def begin(self) -> int:
        """Make sure that the target is this copy's own → the rows that are there already. CopyError."""
        state = self._source.read(state_of)
        if self._source.read(lambda reader: reader.load_all(StoreCopy, 1)):
            raise CopyError("source_unfinished", source=self._name)
        found = self._target.read(lambda reader: reader.load_all(StoreCopy, 1))
        if found and found[0].state != state:
            raise CopyError("other_copy", source=found[0].source, target=self._target_name)
        if not found and not self._target.read(is_empty):
            raise CopyError("not_empty", target=self._target_name)
        fresh = StoreCopy(source=self._name, state=state, noun=ORDER[0], began_at=self._clock.now_ms())
        self._row = self._saved = found[0] if found else fresh
        if not found:
            self._target.transaction(lambda tx: tx.save_many([fresh]))
        return self._row.rows

    def copy(self, progressed: Progressed) -> None:
        """Copy what is not there yet, a transaction a page. CopyError for rows that cannot be read."""
        for table in ORDER[ORDER.index(self._row.noun) :]:
            if table != self._row.noun:
                self._row = replace(self._row, noun=table, place="")
            if table == EVENTS:
                self._copy_events(progressed)
            else:
                self._copy_rows(NOUNS[table], progressed)

    def _copy_rows(self, noun: type[Struct], progressed: Progressed) -> None:
        key_of, after = TABLES[noun].key_of, _key(self._row.place)
        while page := self._read(lambda reader, after: next(pages(reader, noun, after), []), after):
            after = key_of(page[-1])
            self._save(page, after, lambda tx, page: tx.save_many(page))
            progressed(TABLES[noun].name, len(page))

    def _copy_events(self, progressed: Progressed) -> None:
        last = self._source.read(lambda reader: reader.last_event_id())
        after = _key(self._row.place) or 0
        while page := self._read(lambda reader, after: next(event_pages(reader, after), []), after):
            after = page[-1].id
            self._save(page, after, lambda tx, page: tx.place_events(page, 0))
            progressed(EVENTS, len(page))
        self._target.transaction(lambda tx: tx.place_events([], last))

    def _read(self, load: Callable[[Reader, Any], list[Any]], after: Any) -> list[Any]:
        """A page, unless something in it cannot be read."""
        page, found = self._source.read(lambda reader: (load(reader, after), reader.unreadable.found))
        if found and not self._with_stand_ins:
            row = found[0]
            raise CopyError("unreadable", noun=row.noun.__name__, key=row.key, why=row.why, source=self._name)
        return page

    def _save(self, page: list[Any], after: Any, save: Callable[[Transaction, list[Any]], None]) -> None:
        """A page, and how far this is with it."""
        place = msgspec.json.encode(after).decode()
        row = replace(self._row, place=place, rows=self._row.rows + len(page))

        def saved(tx: Transaction) -> None:
            if tx.load_all(StoreCopy, 1) != [self._saved]:
                raise CopyError("not_alone", target=self._target_name)
            save(tx, page)
            tx.save_many([row])

        self._target.transaction(saved)
        self._row = self._saved = row

    def proven(self, progressed: Progressed) -> dict[str, Sum]:
        """The counts and checksums of all tables, equal on both sides. CopyError where they are not."""
        sums = {}
        for table in ORDER:
            ours, there = _summed(self._source, table, progressed)
            copied, counted = _summed(self._target, table, progressed)
            if ours != copied or counted != ours.rows:
                raise CopyError("differs", table=table, rows=ours.rows, copied=copied.rows, target=self._target_name)
            self.left_out += there - ours.rows
            sums[table] = ours
        if self._source.read(state_of) != self._row.state:
            raise CopyError("source_changed", source=self._name)
        return sums

    def finish(self) -> None:
        """From here on the target is a store like any other."""
        self._target.transaction(lambda tx: tx.delete_many(StoreCopy, (1,)))


def _summed(store: Store, table: str, progressed: Progressed) -> tuple[Sum, int]:
    """The sum of one table, and the rows that are there, unreadable ones included; the seam counts no events."""

    def summed(reader: Reader) -> tuple[Sum, int]:
        found = sum_of(reader, table, progressed)
        return found, found.rows if table == EVENTS else count_of(reader, NOUNS[table])

    return store.read(summed)


def _key(place: str) -> Any:
    """The key that was the last one, as `load_all` takes it; None: from the beginning."""
    found = msgspec.json.decode(place) if place else None
    return tuple(found) if isinstance(found, list) else found


def sum_of(reader: Reader, table: str, progressed: Progressed) -> Sum:
    """The sum of one table."""
    found = Sum()
    for page in _rows(reader, table):
        for row in page:
            found.add(row)
        progressed(table, len(page))
    return found


def _rows(reader: Reader, table: str) -> Iterator[list[tuple[Any, ...]]]:
    if table == EVENTS:
        return ([_event(stored) for stored in page] for page in event_pages(reader))
    return ([astuple(row) for row in page] for page in pages(reader, NOUNS[table]))


def _event(stored: StoredEvent) -> tuple[Any, ...]:
    event = stored.event
    fields = msgspec.json.encode(event.fields, order="deterministic").decode()
    return (stored.id, event.at, event.level, event.name, event.component, event.message, fields, *_about(stored))


def _about(stored: StoredEvent) -> tuple[str, str]:
    return stored.event.task_id, stored.event.daemon_id
