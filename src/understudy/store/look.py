"""Opens any store by its address, a path or a `postgresql://` URL: to look at all of it, or to have it alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol, TypeVar

from understudy.store.base import Reader, Store
from understudy.store.sqlite_alone import LoneSqliteStore, StoreInUseError
from understudy.store.sqlite_snapshot import SqliteSnapshot

__all__ = ["Look", "StoreInUseError", "open_alone", "open_to_look"]
T = TypeVar("T")


class Look(Protocol):
    """The part of a store that reads: one moment, and nothing is written or migrated."""

    version: int  # of its schema

    def read(self, fn: Callable[[Reader], T]) -> T:
        """Run `fn` on one moment of the store."""
        ...

    def close(self) -> None:
        """Let go of it."""
        ...


def open_to_look(address: str) -> Look:
    """The store, also one that a hub is using. StoreError, StoreVersionError."""
    return SqliteSnapshot(Path(address))


def open_alone(address: str) -> Store:
    """The store, migrated, and for this process alone. StoreInUseError, StoreError, StoreVersionError."""
    return LoneSqliteStore(Path(address))
