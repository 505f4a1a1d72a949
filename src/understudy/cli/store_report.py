"""The outcome of a check of a store, for people and for scripts."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from understudy import config
from understudy.cli.exits import AbsentError, UnreachableError
from understudy.cli.options import data_dir_of, with_warnings
from understudy.cli.terminal import paint, safe, say, say_lines
from understudy.errors import ConfigError, StoreDownError
from understudy.store_address import is_postgres, without_password
from understudy.texts import t

if TYPE_CHECKING:
    from understudy.coordinator.invariants import Fault
    from understudy.store.check import Report

FAULTS_SHOWN_MAX = 20  # for people; `--json` has all that are kept


def settings_of(data: Path | None = None) -> config.Settings:
    """The settings of the hub with this data directory: where its store is, and the password for it."""
    return with_warnings(config.load(os.environ, data_dir_of(data)))


def refuse_absent(address: str) -> None:
    """AbsentError for a path with no file: SQLite would make an empty store there."""
    if not is_postgres(address) and not Path(address).is_file():
        raise AbsentError(t("cli.store.absent", path=address))


def shown(address: str) -> str:
    """The address without a password in it."""
    if not is_postgres(address):
        return address
    try:
        return without_password(address)[0]
    except ValueError as error:
        raise ConfigError(str(error)) from None


@contextmanager
def unreachable() -> Iterator[None]:
    """UnreachableError where the server of a store does not answer."""
    try:
        yield
    except StoreDownError as error:
        raise UnreachableError(error.message) from error


def report_json(report: Report) -> dict[str, Any]:
    """A report as `--json` prints it."""
    faults = [{"name": f.name, "key": f.key, "facts": f.facts, "what": sentence(f)} for f in report.faults]
    unreadable = [{"noun": row.noun.__name__, "key": row.key, "why": row.why} for row in report.unreadable]
    return {"rows": report.rows, "faultCount": report.fault_count, "faults": faults, "unreadable": unreadable}


def sentence(fault: Fault) -> str:
    """The sentence that says a fault, in the reader's language."""
    return t(f"store.fault.{fault.name}", "", key=fault.key, **fault.facts)


def say_report(report: Report, address: str) -> None:
    """A line for each fault, and one for the whole."""
    lines = [sentence(fault) for fault in report.faults]
    lines += [t("store.unreadable", noun=row.noun.__name__, key=row.key, why=row.why) for row in report.unreadable]
    say_lines(f"{paint('✗', 'red')} {safe(line)}" for line in lines[:FAULTS_SHOWN_MAX])
    more = report.fault_count + len(report.unreadable) - min(len(lines), FAULTS_SHOWN_MAX)
    if more:
        say(t("cli.store.more", count=more))
    from understudy.store.tables import SCHEMA_VERSION

    store, rows = safe(shown(address)), f"{sum(report.rows.values()):,}"
    if report.is_sound:
        say(f"{paint('✓', 'green')} {t('cli.store.sound', store=store, schema=SCHEMA_VERSION, rows=rows)}")
    else:
        count = report.fault_count + len(report.unreadable)
        say(t("cli.store.unsound", count=count, store=store, schema=SCHEMA_VERSION, rows=rows))
