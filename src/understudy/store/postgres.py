"""PostgreSQL as the store of several hubs: short transactions that run beside each other, or alone.

Every transaction that writes has one lock of ours (`BATCHES`) until its end: shared, or alone. So one that is alone
meets no other writer, as on SQLite. READ COMMITTED; `fn` runs again if two transactions conflict. The locks of a frozen
or lost hub are released by the server after IDLE_MS. A COMMIT whose outcome is not known is a failure.
"""

from __future__ import annotations

import random
import threading
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import TypeVar

import psycopg
from psycopg import errors

from understudy.errors import SlowReadError, StoreDownError, StoreError
from understudy.store.base import Reader, Transaction, Unreadable
from understudy.store.postgres_fronts import Fronts
from understudy.store.postgres_links import Links, drop
from understudy.store.postgres_pipeline import Statement
from understudy.store.postgres_rows import BATCHES, PostgresTransaction
from understudy.store.postgres_schema import migrate, misfit
from understudy.store.postgres_signals import Listener, SignalSender
from understudy.store.postgres_trips import Trips
from understudy.store.postgres_wire import AGAIN, UNPREPARED, PostgresConnection, address, failure
from understudy.store.room import LastRoom

T = TypeVar("T")
WRITERS_MAX = 2  # transactions of one hub at once; more would only wait for its interpreter
READERS_MAX = 4
TRIES_MAX = 6
PAUSE_MS = 4  # before the second try at most, doubled for each one more
STATEMENT_MS = 30_000
IDLE_MS = 5_000  # in a transaction, between two statements
LOCK_MS = 8_000  # longer: what a frozen hub holds is waited for until it is cut
READER_IDLE_MS = 60_000
_WRITER: dict[str, int | str] = {
    "statement_timeout": STATEMENT_MS,
    "lock_timeout": LOCK_MS,
    "idle_in_transaction_session_timeout": IDLE_MS,
    "client_min_messages": "warning",  # a COMMIT that was not waited for shows in nothing else
    "enable_seqscan": "off",  # each query of a transaction has its index, in its order,
    "enable_sort": "off",  # also if statistics, or a plan that is kept, are of an empty table;
    "enable_hashjoin": "off",  # and rows that are changed together are found by their keys
    "enable_mergejoin": "off",
    "jit": "off",
}
_BATCH = "BEGIN ISOLATION LEVEL READ COMMITTED"  # whatever the database or the user has as its default
_MOVE_PLACES = "SELECT setval('event_id', max(id)) FROM event HAVING max(id) > (SELECT last_value FROM event_id)"
_SNAPSHOT = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
_READER: dict[str, int | str] = {"idle_in_transaction_session_timeout": READER_IDLE_MS, "jit": "off"}


class _AgainError(Exception):
    """Two transactions were in each other's way: nothing was kept, `fn` may run again. `known`: what to say if not."""

    def __init__(self, known: StoreError) -> None:
        super().__init__(known.message)
        self.known = known


class _StaleError(Exception):
    """The connection was lost before anything was asked in this transaction: a new one may do."""


class PostgresStore:
    """One database of PostgreSQL that several hubs may use at once.

    `own_clock`: time is the clock's that `now_ms` is given, for tests that move it. `name`: what the server shows.
    `may_be_standby`: it is only read from, as of some moment. `writers`: so many transactions at once.
    """

    is_shared = True

    def __init__(
        self,
        url: str,
        *,
        own_clock: bool = False,
        before_commit: Callable[[], None] | None = None,
        name: str = "hub",
        may_be_standby: bool = False,
        writers: int = WRITERS_MAX,
    ) -> None:
        self._links = Links(address(url, name), partial(PostgresConnection, may_be_standby=may_be_standby))
        self._own_clock = own_clock
        self._before_commit = before_commit  # a fail point for crash tests
        self._unreadable = Unreadable()
        self._writers_max = writers
        self._writing = threading.BoundedSemaphore(writers)
        self._writers = self._links.pool()  # that nobody writes with now
        self._readers = self._links.pool()
        self._is_unprepared = False  # a pooler forgets what was prepared
        self._last_room = LastRoom()
        self._fronts = Fronts(lambda: self._read(lambda tx: tx.all_fronts(), 0, None))
        self._sender = SignalSender(self._opened)
        self._listeners: list[Listener] = []
        link = self._opened()
        try:
            migrate(link)
        finally:
            link.close()

    # ---- connections

    def _opened(self) -> PostgresConnection:
        try:
            link = self._links.opened()
        except psycopg.Error as error:
            raise failure(error, None) from error
        if self._is_unprepared:
            link.pipeline.prepares = False
        return link

    def _configured(self, link: PostgresConnection, settings: dict[str, int | str]) -> PostgresConnection:
        """A connection of our own is configured once; behind a pooler each transaction is (`_begin`)."""
        if not link.is_pooled:
            given = {**settings, "synchronous_commit": link.commits}
            said = [Statement(f"SET {setting} = {value}") for setting, value in given.items()]
            try:
                link.ask(*said)
            except psycopg.Error as error:
                link.close()
                raise failure(error, None) from error
        is_worth_waiting = self._links.is_worth_waiting if settings is _WRITER else self._links.is_current
        link.pipeline.is_worth_waiting = partial(is_worth_waiting, link)
        return link

    def _lent(self, pool: deque[PostgresConnection], settings: dict[str, int | str]) -> tuple[PostgresConnection, bool]:
        """A connection for one transaction, and whether it is new."""
        link = self._links.lent(pool)
        if link is not None:
            return link, False
        return self._configured(self._opened(), settings), True

    def _begin(
        self, link: PostgresConnection, begin: str, settings: dict[str, int | str], **more: int
    ) -> list[Statement]:
        """The statements that begin a transaction; behind a pooler they configure it too."""
        local: dict[str, int | str] = {}
        if link.is_pooled:
            local = {**settings, "synchronous_commit": link.commits}
        local.update(more)
        if not local:
            return [Statement(begin)]
        said = ", ".join(f"set_config('{setting}', ${n}, true)" for n, setting in enumerate(local, 1))
        return [Statement(begin), Statement(f"SELECT {said}", [*map(str, local.values())])]

    def _begin_batch(self, link: PostgresConnection, *, alone: bool) -> list[Statement]:
        lock = "pg_advisory_xact_lock" if alone else "pg_advisory_xact_lock_shared"
        return [*self._begin(link, _BATCH, _WRITER), Statement(f"SELECT {lock}({BATCHES[0]}, {BATCHES[1]})")]

    # ---- transactions

    def transaction(self, fn: Callable[[Transaction], T], *, alone: bool = True) -> T:
        """Run `fn`, again where another hub came in its way, and commit; durable when this returns."""
        with self._writing:
            nth = 1
            while True:
                try:
                    return self._once(fn, alone=alone)
                except _StaleError:
                    continue
                except _AgainError as again:
                    if nth == TRIES_MAX:
                        raise again.known from again
                time.sleep(random.uniform(0, PAUSE_MS << nth) / 1000)
                nth += 1

    def _once(self, fn: Callable[[Transaction], T], *, alone: bool) -> T:
        link, is_fresh = self._lent(self._writers, _WRITER)
        try:
            return self._written(link, fn, alone=alone, is_fresh=is_fresh)
        finally:
            if link.is_lost:
                self._links.lost(link)
            self._links.give_back(link, self._writers, self._writers_max)

    def _written(self, link: PostgresConnection, fn: Callable[[Transaction], T], *, alone: bool, is_fresh: bool) -> T:
        trips = Trips(link, self._begin_batch(link, alone=alone))
        tx = PostgresTransaction(
            trips,
            self._unreadable,
            is_beside=not alone,
            own_clock=self._own_clock,
            last_room=self._last_room,
            fronts=self._fronts,
        )
        try:
            answer = fn(tx)
            self._commit(link, trips)
        except psycopg.Error as error:
            self._undo(link)
            if link.is_lost and not trips.count and not is_fresh:
                raise _StaleError from error
            self._heed(error)
            known = failure(error, link)
            if self._has_moved_places(link, error):
                raise _AgainError(known) from error
            if isinstance(error, AGAIN) or (isinstance(error, errors.UniqueViolation) and not alone):
                raise _AgainError(known) from error
            raise (StoreDownError(known.message) if trips.is_commit_refused else known) from error
        except BaseException:
            self._undo(link)
            raise
        finally:
            self._fronts.add(tx.made)
        return answer

    def _commit(self, link: PostgresConnection, trips: Trips) -> None:
        """End the transaction. PostgreSQL answers ROLLBACK, and no error, to the COMMIT of one that has failed.

        A wait for a synchronous standby that somebody has cancelled ends with COMMIT and a warning: not durable there.
        """
        if self._before_commit is not None or not trips.count:  # what is lost before the COMMIT may be asked again
            trips.send()
        if self._before_commit is not None:
            self._before_commit()
        link.warnings.clear()
        said = trips.commit()
        if said != "COMMIT" or link.warnings:
            raise StoreDownError(f"Store unavailable: PostgreSQL answered {said} to COMMIT {' '.join(link.warnings)}")

    def _undo(self, link: PostgresConnection) -> None:
        """End a transaction that keeps nothing; a connection on which that is not possible is used no more."""
        try:
            if not link.is_lost:
                link.ask(Statement("ROLLBACK"))
        except psycopg.Error:
            link.close()

    def _has_moved_places(self, link: PostgresConnection, error: psycopg.Error) -> bool:
        """True if the next event was to get the place of another one, and will not any more.

        Logical replication, by which databases are moved and upgraded, copies rows and leaves sequences behind.
        """
        if error.diag.constraint_name != "event_pkey" or link.is_lost:
            return False
        begin = self._begin_batch(link, alone=True)
        try:
            link.ask(*begin, Statement(_MOVE_PLACES), Statement("COMMIT"))
        except psycopg.Error:  # without the right to do so the failure that led here stands
            self._undo(link)
            return False
        return True

    def _heed(self, error: psycopg.Error) -> None:
        """Make connections anew where something stands in the way, or where the server is not the one that writes."""
        if isinstance(error, UNPREPARED):
            self._is_unprepared = True
        if isinstance(error, (*UNPREPARED, errors.ReadOnlySqlTransaction)):
            self._links.forget()

    # ---- reads

    def read(self, fn: Callable[[Reader], T], within_ms: int = 0) -> T:
        """Run `fn` on one snapshot that cannot write."""
        return self._read(fn, within_ms, self._fronts)

    def _read(self, fn: Callable[[PostgresTransaction], T], within_ms: int, fronts: Fronts | None) -> T:
        while True:
            link, is_fresh = self._lent(self._readers, _READER)
            more = {"statement_timeout": within_ms} if within_ms else {}
            until_s = time.monotonic() + within_ms / 1000 if within_ms else 0
            trips = Trips(link, self._begin(link, _SNAPSHOT, _READER, **more), until_s, is_reading=True)
            try:
                answer = fn(
                    PostgresTransaction(
                        trips, self._unreadable, own_clock=self._own_clock, last_room=self._last_room, fronts=fronts
                    )
                )
                if trips.failure is not None:  # `fn` has caught it: what it answers is not what the store holds
                    raise trips.failure
                return answer
            except psycopg.Error as error:
                if link.is_lost and not trips.count and not is_fresh:
                    drop(self._readers)  # the server was restarted: none of them is worth a try
                    continue
                self._heed_reading(error, link)
                if within_ms and isinstance(error, errors.QueryCanceled):
                    raise SlowReadError from error
                raise failure(error, link) from error
            finally:
                self._undo(link)
                self._links.give_back(link, self._readers, READERS_MAX)

    def _heed_reading(self, error: psycopg.Error, link: PostgresConnection) -> None:
        if isinstance(error, UNPREPARED):
            self._is_unprepared = True
            link.close()
            drop(self._readers)

    def misfit(self) -> str:
        """The reason for which this version must not use the database any more: others may have changed its schema."""
        return misfit(*self._read(lambda tx: tx.versions(), 0, None))

    # ---- hints

    def signal(self, payload: str) -> None:
        """Send a hint to every hub that listens; StoreError if that is not possible now."""
        self._sender.send(payload)

    def listen(self, on_signal: Callable[[str], None]) -> Callable[[], None]:
        """Call `on_signal` with each hint, on a thread of its own, with "" where some may have been missed → stop."""
        listener = Listener(self._opened, on_signal)
        self._listeners.append(listener)
        return listener.stop

    def close(self) -> None:
        """Close every connection; one that is read from, once that has ended."""
        for listener in self._listeners:
            listener.stop()
        self._sender.close()
        self._fronts.wait()
        for _ in range(self._writers_max):  # each transaction that is under way ends first
            self._writing.acquire()
        self._links.close()
        self._writing.release(self._writers_max)
