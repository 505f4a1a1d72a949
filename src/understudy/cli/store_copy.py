"""`understudy store copy`: copies everything that a store holds into another one that is empty."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from understudy.cli.commands import Command
from understudy.cli.exits import ClientError, Exit
from understudy.cli.options import json_option
from understudy.cli.store_report import refuse_absent, report_json, say_report, settings_of, shown, unreachable
from understudy.cli.terminal import note, paint, safe, say, say_json, table
from understudy.spans import span
from understudy.store_address import is_postgres
from understudy.texts import t

if TYPE_CHECKING:
    from understudy.cli.progress import ProgressLine
    from understudy.store.base import Store
    from understudy.store.check import Report
    from understudy.store.copying import Copying, Sum

EXAMPLE = """understudy store copy hub.db postgresql://understudy@db.example/understudy
understudy store copy postgresql://understudy@db.example/understudy hub.db"""


@click.command("copy", cls=Command, help=t("cli.store.copy"), example=EXAMPLE)
@click.argument("source", metavar="FROM")
@click.argument("target", metavar="TO")
@click.option("--with-stand-ins", is_flag=True, help=t("cli.store.stand_ins"))
@json_option
def copy(source: str, target: str, with_stand_ins: bool, as_json: bool) -> int:
    """1 if the copy, or what was copied, is not sound."""
    from understudy.store.copying import CopyError

    refuse_absent(source)
    if is_same(source, target):
        raise ClientError(t("cli.store.copy.same"))
    try:
        with unreachable():
            sums, report, elapsed_ms = _copied(source, target, with_stand_ins=with_stand_ins)
    except CopyError as error:
        raise ClientError(t(f"cli.store.copy.{error.reason}", "", **_safe(error.facts))) from None
    rows = sum(found.rows for found in sums.values())
    if as_json:
        tables = {name: {"rows": found.rows, "checksum": found.shown} for name, found in sums.items()}
        about = {"from": shown(source), "to": shown(target), "rows": rows, "elapsedSec": elapsed_ms / 1000}
        say_json({"ok": report.is_sound, **about, "tables": tables, **_faults(report)})
    else:
        heads = [t(f"cli.store.column.{name}") for name in ("table", "rows", "checksum")]
        say(table(heads, [(name, f"{found.rows:,}", found.shown) for name, found in sums.items() if found.rows]))
        both = {"source": safe(shown(source)), "target": safe(shown(target))}
        said = t("cli.store.copied", "", **both, rows=f"{rows:,}", span=span(elapsed_ms))
        say(f"{paint('✓', 'green')} {said}")
        say_report(report, target)
        note(t("cli.store.go_on", target=safe(shown(target))))
    return Exit.OK if report.is_sound else Exit.FAILED


def _faults(report: Report) -> dict[str, Any]:
    return {name: value for name, value in report_json(report).items() if name != "rows"}


def _safe(facts: dict[str, str | int]) -> dict[str, str | int]:
    return {name: safe(value) if isinstance(value, str) else value for name, value in facts.items()}


def _copied(source: str, target: str, *, with_stand_ins: bool) -> tuple[dict[str, Sum], Report, int]:
    """Open both, copy, prove, and check what is there now."""
    from understudy.clock import SystemClock
    from understudy.store.copying import Copying

    clock = SystemClock()
    began_ms = clock.mono_ms()
    password = settings_of().store_password
    ours = _alone(source, password)
    try:
        theirs = _alone(target, password)
        try:
            copying = Copying(ours, theirs, (shown(source), shown(target)), clock, with_stand_ins=with_stand_ins)
            sums = _moved(copying)
            copying.finish()
            report = _checked(theirs, sum(copying.totals.values()))
        finally:
            theirs.close()
    finally:
        ours.close()
    return sums, report, clock.mono_ms() - began_ms


def is_same(source: str, target: str) -> bool:
    """True for one file, by whatever path; of two databases on PostgreSQL, what they hold says it."""
    if is_postgres(source) and is_postgres(target):
        return shown(source) == shown(target)
    ours, theirs = Path(source), Path(target)
    return ours.exists() and theirs.exists() and ours.samefile(theirs)


def _alone(address: str, password: str) -> Store:
    """The store for this process alone; ClientError while a hub has it."""
    from understudy.clock import SystemClock
    from understudy.store.look import StoreInUseError, open_alone

    try:
        return open_alone(address, password, SystemClock())
    except StoreInUseError:
        raise ClientError(t("cli.store.copy.in_use", store=safe(shown(address)))) from None


def _moved(copying: Copying) -> dict[str, Sum]:
    total = sum(copying.totals.values())
    there = copying.begin()
    if there:
        note(t("cli.store.goes_on", rows=f"{there:,}"))
    progress = _progress(total, there)
    try:
        copying.copy(progress.ahead)
    finally:
        progress.end()
    note(t("cli.store.proving"))
    progress = _progress(2 * total)
    try:
        sums = copying.proven(progress.ahead)
    finally:
        progress.end()
    if copying.left_out:
        note(t("cli.store.left_out", rows=f"{copying.left_out:,}"))
    return sums


def _checked(store: Store, total: int) -> Report:
    from understudy.clock import SystemClock
    from understudy.store.check import check

    progress = _progress(total)
    try:
        return store.read(lambda reader: check(reader, SystemClock(), progress.ahead))
    finally:
        progress.end()


def _progress(total: int, already: int = 0) -> ProgressLine:
    from understudy.cli.progress import ProgressLine

    return ProgressLine(total, already)
