"""The storage of a Cloudflare Durable Object as a store: one object is one hub, and nobody else writes.

Cloudflare keeps all of a transaction or nothing of it, and holds back every answer of the object until the transaction
is on disk, so no answer reports what could be lost. There are no files here, hence nothing to watch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from understudy.errors import StoreDownError, StoreError, StoreVersionError
from understudy.store.base import Reader, Transaction, Unreadable
from understudy.store.durable_rows import DurableTransaction, Storage
from understudy.store.tables import SCHEMA_VERSION

T = TypeVar("T")
_VERSION = "SELECT max(version) FROM understudy_schema"
_NOTE = "INSERT INTO understudy_schema (version) VALUES (?)"
_TABLE = "CREATE TABLE IF NOT EXISTS understudy_schema (version INTEGER PRIMARY KEY) STRICT"


class DurableStore:
    """`storage` is `ctx.storage`; `buffer` makes bytes what JavaScript takes for a BLOB."""

    is_shared = False

    def __init__(self, storage: Storage, buffer: Callable[[bytes], Any]) -> None:
        self._storage = storage
        self._transaction = DurableTransaction(storage.sql, buffer, Unreadable())
        self._migrate()

    def transaction(self, fn: Callable[[Transaction], T], *, alone: bool = True) -> T:
        """Run `fn` in the only transaction; an exception keeps nothing."""
        kept: list[T] = []
        failed: list[BaseException] = []

        def run() -> None:
            try:
                kept.append(fn(self._transaction))
            except BaseException as error:
                failed.append(error)  # JavaScript is on the way: it may come out as another one
                raise

        try:
            self._storage.transactionSync(run)
        except Exception as error:
            if failed:
                raise failed[0] from None
            raise StoreDownError(f"Store unavailable: {error}") from error
        return kept[0]

    def read(self, fn: Callable[[Reader], T], within_ms: int = 0) -> T:
        """Run `fn` on what is there: nobody writes meanwhile. It cannot be cut short."""
        return fn(self._transaction)

    def close(self) -> None:
        """Nothing is held."""

    # ---- schema

    def _migrate(self) -> None:
        """Bring it to SCHEMA_VERSION by SQLite's own steps, each kept whole. StoreVersionError for a newer one."""
        self._exec(_TABLE)
        found = self._version()
        if found > SCHEMA_VERSION:
            raise StoreVersionError(
                f"The storage of this object has schema {found}, this understudy knows {SCHEMA_VERSION}: "
                "deploy the newer understudy again, or go back to an earlier point in time of the object"
            )
        for number in range(found + 1, SCHEMA_VERSION + 1):
            self.transaction(lambda _, number=number: self._step(number))  # type: ignore[misc]

    def _version(self) -> int:
        ((found,),) = self._exec(_VERSION).raw().toArray().to_py()
        return found if isinstance(found, int) else 0

    def _step(self, number: int) -> None:
        from importlib.resources import files  # noqa: PLC0415 - in the first life of an object only

        folder = files("understudy.store") / "migrations" / "sqlite"
        (step,) = [f for f in folder.iterdir() if f.name.startswith(f"{number:04d}_")]
        self._exec(step.read_text(encoding="utf-8"))
        self._exec(_NOTE, number)

    def _exec(self, query: str, *values: Any) -> Any:
        try:
            return self._storage.sql.exec(query, *values)
        except Exception as error:
            raise StoreError(f"Store unavailable: {error}") from error
