"""Checks of a PostgreSQL database that hubs of this machine use: asked of the server itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from understudy.cli.findings.finding import NOTICE, OK, PROBLEM, Finding
from understudy.clock import SystemClock
from understudy.errors import ConfigError
from understudy.texts import t

NAME = "database"


def look(databases: Sequence[tuple[str, str]]) -> Iterator[Finding]:
    """Each address with its password."""
    for store, password in databases:
        yield from _one(store, password)


def _one(store: str, password: str) -> Iterator[Finding]:
    from understudy.store.opening import checked

    try:
        address, password = checked(store, password)
    except ConfigError as error:
        yield Finding(NAME, PROBLEM, error.message)
        return
    from understudy.store.postgres_look import look as look_at

    found = look_at(address, password, SystemClock(), is_thorough=True)
    for fault in found:
        level = PROBLEM if fault.is_fatal else NOTICE
        yield Finding(NAME, level, fault.what, fault.why, fault.fix)
    if not any(fault.is_fatal for fault in found):
        yield Finding(NAME, OK, t("postgres.well", address=address))
