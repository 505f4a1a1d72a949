"""The one place where a store is opened: a path is a SQLite file, an address a PostgreSQL database."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from understudy.clock import Clock
from understudy.errors import ConfigError, StoreDownError
from understudy.store_address import is_postgres, without_password
from understudy.texts import t

if TYPE_CHECKING:
    from understudy.store.base import Store

FILE_NAME = "hub.db"  # in a data directory, unless the setting `store` names another place


def open_store(
    store: str,
    password: str,
    data_dir: Path,
    clock: Clock,
    *,
    before_commit: Callable[[], None] | None = None,
    note: Callable[[str], None] = lambda _: None,
) -> Store:
    """The store that the settings `store` and `store_password` name, migrated; "" is the file of the data directory.

    ConfigError for what the owner must change; StoreError where it may be otherwise later. What a hub can live with is
    noted.
    """
    path = file_of(store, data_dir)
    if path is not None:
        from understudy.store.sqlite import SqliteStore  # noqa: PLC0415 - one backend needs nothing of the other

        return SqliteStore(path, before_commit)
    address, password = checked(store, password)
    from understudy.store.postgres import PostgresStore  # noqa: PLC0415 - an extra
    from understudy.store.postgres_look import conninfo_of, look  # noqa: PLC0415 - as it is

    for fault in look(address, password, clock):
        if fault.is_fatal:
            raise (StoreDownError if fault.may_pass else ConfigError)(f"{fault.what} {fault.fix}")
        note(f"{fault.what} {fault.fix}")
    return PostgresStore(conninfo_of(address, password), before_commit=before_commit)


def file_of(store: str, data_dir: Path) -> Path | None:
    """The file of a store on SQLite; None for another."""
    if is_postgres(store):
        return None
    return Path(store) if store else data_dir / FILE_NAME


def checked(store: str, password: str) -> tuple[str, str]:
    """The address without a password, and the password. ConfigError for an address that cannot be, or no extra."""
    try:
        address, in_address = without_password(store)
    except ValueError as error:
        raise ConfigError(f"store (UNDERSTUDY_STORE): {error}") from None
    try:
        import psycopg  # noqa: F401, PLC0415 - an extra
    except ImportError:  # or there, without a libpq
        raise ConfigError(f"{t('postgres.extra.what')} {t('postgres.extra.fix')}") from None
    return address, in_address or password
