"""`understudy store`: prove that a store is sound, and copy it into another one."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from understudy import config
from understudy.cli.commands import Group
from understudy.cli.exits import AbsentError, Exit
from understudy.cli.options import data_dir_of, data_option, json_option, with_warnings
from understudy.cli.terminal import paint, safe, say, say_json, say_lines
from understudy.texts import t

if TYPE_CHECKING:
    from understudy.coordinator.invariants import Fault
    from understudy.store.check import Report

FAULTS_SHOWN_MAX = 20  # for people; `--json` has all that are kept
EXAMPLE_CHECK = """understudy store check
understudy store check /var/lib/understudy/hub.db --json"""


@click.group("store", cls=Group, help=t("cli.store.help"), example="understudy store check")
def store() -> None:
    """See the commands below."""


@store.command("check", help=t("cli.store.check"), example=EXAMPLE_CHECK)
@click.argument("address", metavar="[STORE]", default="")
@data_option
@json_option
def check(address: str, data: Path | None, as_json: bool) -> int:
    """1 if an invariant does not hold, or a row cannot be read."""
    address = address or own_address(data)
    refuse_absent(address)
    report, version, elapsed_ms = _checked(address)
    if as_json:
        shown = {"store": address, "schema": version, "elapsedSec": elapsed_ms / 1000}
        say_json({"ok": report.is_sound, **shown, **report_json(report)})
    else:
        say_report(report, address, version)
    return Exit.OK if report.is_sound else Exit.FAILED


def own_address(data: Path | None) -> str:
    """The store of the hub with these settings."""
    data_dir = data_dir_of(data)
    return with_warnings(config.load(os.environ, data_dir)).store or str(data_dir / "hub.db")


def refuse_absent(address: str) -> None:
    """AbsentError for a path with no file: SQLite would make an empty store there."""
    if not Path(address).is_file():
        raise AbsentError(t("cli.store.absent", path=address))


def _checked(address: str) -> tuple[Report, int, int]:
    """The report, the schema, and how long it took in ms."""
    from understudy.cli.progress import Progress
    from understudy.clock import SystemClock
    from understudy.store.base import Reader
    from understudy.store.check import check as look_at
    from understudy.store.check import totals
    from understudy.store.look import open_to_look

    found = open_to_look(address)
    try:

        def looked(reader: Reader) -> tuple[Report, int]:
            progress = Progress(sum(totals(reader).values()))
            try:
                return look_at(reader, SystemClock(), progress.ahead), progress.elapsed_ms
            finally:
                progress.end()

        report, elapsed_ms = found.read(looked)
        return report, found.version, elapsed_ms
    finally:
        found.close()


def report_json(report: Report) -> dict[str, Any]:
    """A report as `--json` prints it."""
    faults = [{"name": f.name, "key": f.key, "facts": f.facts, "what": sentence(f)} for f in report.faults]
    unreadable = [{"noun": row.noun.__name__, "key": row.key, "why": row.why} for row in report.unreadable]
    return {"rows": report.rows, "faultCount": report.fault_count, "faults": faults, "unreadable": unreadable}


def sentence(fault: Fault) -> str:
    """The sentence that says a fault, in the reader's language."""
    return t(f"store.fault.{fault.name}", "", key=fault.key, **fault.facts)


def say_report(report: Report, address: str, version: int) -> None:
    """A line for each fault, and one for the whole."""
    lines = [sentence(fault) for fault in report.faults]
    lines += [t("store.unreadable", noun=row.noun.__name__, key=row.key, why=row.why) for row in report.unreadable]
    say_lines(f"{paint('✗', 'red')} {safe(line)}" for line in lines[:FAULTS_SHOWN_MAX])
    more = report.fault_count + len(report.unreadable) - min(len(lines), FAULTS_SHOWN_MAX)
    if more:
        say(t("cli.store.more", count=more))
    store, rows = safe(address), f"{sum(report.rows.values()):,}"
    if report.is_sound:
        say(f"{paint('✓', 'green')} {t('cli.store.sound', store=store, schema=version, rows=rows)}")
    else:
        count = report.fault_count + len(report.unreadable)
        say(t("cli.store.unsound", count=count, store=store, schema=version, rows=rows))
