"""Opens any store to look at all of it, by its address: a path or a `postgresql://` URL."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol, TypeVar

from understudy.store.base import Reader
from understudy.store.sqlite_snapshot import SqliteSnapshot

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
