"""A store that several simulated hubs share: SQLite in memory, held to the rules of a database that lets many write.

One transaction follows the other here, so what two of them do to each other at the same time is not seen. Seen is
whether a batch that runs beside others keeps to the rows that it has locked, whether it may run again, what follows
from a COMMIT whose outcome its hub never learns, and how the others go on while one hub stands still in a transaction.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

from understudy.errors import StoreDownError, StoreError
from understudy.simulation.beside_store import BesideTransaction
from understudy.store.base import Reader, Transaction
from understudy.store.sqlite import SqliteStore

T = TypeVar("T")
CUT_AFTER_MS = 5_000  # the database cuts a connection that stands still in a transaction


class _AgainError(Exception):
    """The database has rolled the transaction back; it is run again."""


class Database:
    """The server: one store, and the transaction of a hub that stands still in it."""

    def __init__(self, now_ms: Callable[[], int] = lambda: 0) -> None:
        self.store = SqliteStore(None)
        self._now_ms = now_ms
        self._held_by: object = None
        self._held_alone = False
        self.held_until_ms = 0

    def hold(self, hub: object, *, alone: bool) -> None:
        """A hub stands still in the middle of a transaction."""
        self._held_by, self._held_alone, self.held_until_ms = hub, alone, self._now_ms() + CUT_AFTER_MS

    def let_go(self, hub: object) -> bool:
        """Its process goes on or has died → whether its transaction is still open."""
        is_open = self._held_by is hub and self._now_ms() < self.held_until_ms
        if is_open:
            self.wait()
        return is_open

    def wait(self) -> None:
        """Nothing holds it up from now on; a hub that starts waits for that."""
        self.held_until_ms = min(self.held_until_ms, self._now_ms())

    def is_in_the_way(self, *, alone: bool) -> bool:
        """True if a transaction would have to wait for that hub for longer than it may."""
        return self._now_ms() < self.held_until_ms and (alone or self._held_alone)


class SharedStore:
    """One hub's way to the database. The chances of what may happen to it are asked for in each transaction.

    `again`: it is rolled back once before it is committed. `passed_over`: a claimable task is locked by another hub.
    `before_commit`: raises a StoreError where the COMMIT fails. `outcome_lost`: it is made, and nobody learns of it.
    """

    is_shared = True

    def __init__(
        self,
        database: Database | None = None,
        *,
        again: Callable[[], bool] = lambda: False,
        passed_over: Callable[[], bool] = lambda: False,
        before_commit: Callable[[], None] = lambda: None,
        outcome_lost: Callable[[], bool] = lambda: False,
    ) -> None:
        self._database = database or Database()
        self._again = again
        self._passed_over = passed_over
        self._before_commit = before_commit
        self._outcome_lost = outcome_lost
        self.began: list[bool] = []  # each transaction: whether it was alone
        self.unknown: Any = None  # what the last transaction has kept although its hub does not know

    def transaction(self, fn: Callable[[Transaction], T], *, alone: bool = True) -> T:
        """Run `fn` and commit, perhaps at the second attempt."""
        self.unknown = None
        self.began.append(alone)
        if self._database.is_in_the_way(alone=alone):
            raise StoreDownError("Store unavailable: lock timeout")
        if self._again():
            with suppress(_AgainError):
                self._database.store.transaction(lambda tx: self._rolled_back(fn, tx, alone=alone))
        answer = self._database.store.transaction(lambda tx: self._whole(fn, tx, alone=alone))
        if self._outcome_lost():
            self.unknown = answer
            raise StoreDownError("Store unavailable: connection lost in COMMIT")
        return answer

    def _rolled_back(self, fn: Callable[[Transaction], T], tx: Transaction, *, alone: bool) -> None:
        fn(self._seen(tx, alone=alone))
        raise _AgainError

    def _whole(self, fn: Callable[[Transaction], T], tx: Transaction, *, alone: bool) -> T:
        answer = fn(self._seen(tx, alone=alone))
        try:
            self._before_commit()
        except StoreError as error:
            raise StoreDownError(str(error)) from error
        return answer

    def _seen(self, tx: Transaction, *, alone: bool) -> Transaction:
        return tx if alone else BesideTransaction(tx, self._passed_over)

    def read(self, fn: Callable[[Reader], T], within_ms: int = 0) -> T:
        """Run `fn` on a snapshot."""
        return self._database.store.read(fn, within_ms)

    def close(self) -> None:
        """The connections of one hub; the database stays."""
