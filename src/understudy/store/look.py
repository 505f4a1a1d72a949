"""Opens any store by its address, a path or a `postgresql://` URL: to read all of it, or for exclusive use."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol, TypeVar

from understudy.clock import Clock
from understudy.coordinator.starts import lately
from understudy.errors import StoreDownError, StoreVersionError
from understudy.store.base import Reader, Store
from understudy.store.opening import checked, open_store
from understudy.store.queries import HUBS_SEEN
from understudy.store.sqlite_alone import LoneSqliteStore, StoreInUseError
from understudy.store.sqlite_snapshot import SqliteSnapshot
from understudy.store.tables import SCHEMA_VERSION
from understudy.store_address import is_postgres

__all__ = ["Look", "StoreInUseError", "open_alone", "open_to_look"]
T = TypeVar("T")
HUBS_MAX = 100  # that are named


class Look(Protocol):
    """The part of a store that reads: one moment, and nothing is written or migrated."""

    def read(self, fn: Callable[[Reader], T]) -> T:
        """Run `fn` on one moment of the store."""
        ...

    def close(self) -> None:
        """Let go of it."""
        ...


def open_to_look(address: str, password: str = "") -> Look:
    """The store, also one that hubs are using, and a standby. StoreError, StoreVersionError, ConfigError."""
    if not is_postgres(address):
        return SqliteSnapshot(Path(address))
    address, password = checked(address, password)
    from understudy.store.postgres import PostgresStore  # noqa: PLC0415 - an extra
    from understudy.store.postgres_look import conninfo_of, why_unreachable  # noqa: PLC0415
    from understudy.store.postgres_schema import version_at  # noqa: PLC0415

    conninfo = conninfo_of(address, password)
    try:
        found = version_at(conninfo)
    except StoreDownError as error:
        raise StoreDownError(why_unreachable(address, password) or error.message) from error
    if found < SCHEMA_VERSION:
        raise StoreVersionError(
            f"The store has schema {found}, this understudy knows {SCHEMA_VERSION}: "
            "use the understudy that wrote it, or start a hub of this version on it once"
        )
    return PostgresStore(conninfo, name="look", may_be_standby=True)


def open_alone(address: str, password: str, clock: Clock) -> Store:
    """The store, migrated, and for this process alone. StoreInUseError, StoreError, StoreVersionError, ConfigError.

    On PostgreSQL no lock outlives a transaction behind a pooler, so hubs are known by their signs of life.
    """
    if not is_postgres(address):
        return LoneSqliteStore(Path(address))
    store = open_store(address, password, Path(), clock)
    try:
        _refuse_newer(address, password)
        hubs = store.read(lambda reader: running_hubs(reader, clock))
    except BaseException:
        store.close()
        raise
    if hubs:
        store.close()
        raise StoreInUseError(f"Hubs use this database: {', '.join(hubs)}")
    return store


def _refuse_newer(address: str, password: str) -> None:
    """StoreVersionError for a schema that has more than this version knows: a hub may leave that alone, a copy not."""
    from understudy.store.postgres_look import conninfo_of  # noqa: PLC0415 - an extra
    from understudy.store.postgres_schema import version_at  # noqa: PLC0415

    found = version_at(conninfo_of(*checked(address, password)))
    if found > SCHEMA_VERSION:
        raise StoreVersionError(
            f"The store has schema {found}, this understudy knows {SCHEMA_VERSION}: "
            "a copy would lose what is new, use the newer understudy"
        )


def running_hubs(reader: Reader, clock: Clock) -> list[str]:
    """The names of the hubs that have said within some seconds that they run."""
    starts = reader.find(HUBS_SEEN, *lately(reader.now_ms(clock)), limit=HUBS_MAX)
    return [start.name or start.host for start in starts]
