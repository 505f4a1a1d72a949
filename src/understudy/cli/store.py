"""`understudy store`: prove that a store is sound, and copy it into another one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from understudy.cli.commands import Group
from understudy.cli.exits import Exit
from understudy.cli.options import data_dir_of, data_option, json_option
from understudy.cli.store_copy import copy
from understudy.cli.store_report import refuse_absent, report_json, say_report, settings_of, shown, unreachable
from understudy.cli.terminal import say_json
from understudy.texts import t

if TYPE_CHECKING:
    from understudy.store.check import Report

EXAMPLE_CHECK = """understudy store check
understudy store check /var/lib/understudy/hub.db --json"""


@click.group("store", cls=Group, help=t("cli.store.help"), example="understudy store check")
def store() -> None:
    """See the commands below."""


store.add_command(copy)


@store.command("check", help=t("cli.store.check"), example=EXAMPLE_CHECK)
@click.argument("address", metavar="[STORE]", required=False)
@data_option
@json_option
def check(address: str | None, data: Path | None, as_json: bool) -> int:
    """1 if an invariant does not hold, or a row cannot be read."""
    given = settings_of(data)
    if address is None:
        address = given.store or str(data_dir_of(data) / "hub.db")
    refuse_absent(address)
    with unreachable():
        report, elapsed_ms = _checked(address, given.store_password)
    if as_json:
        from understudy.store.tables import SCHEMA_VERSION

        about = {"store": shown(address), "schema": SCHEMA_VERSION, "elapsedSec": elapsed_ms / 1000}
        say_json({"ok": report.is_sound, **about, **report_json(report)})
    else:
        say_report(report, address)
    return Exit.OK if report.is_sound else Exit.FAILED


def _checked(address: str, password: str) -> tuple[Report, int]:
    """The report, and how long it took in ms."""
    from understudy.cli.progress import ProgressLine
    from understudy.clock import SystemClock
    from understudy.store.base import Reader
    from understudy.store.check import check as look_at
    from understudy.store.check import totals
    from understudy.store.look import open_to_look

    found = open_to_look(address, password)
    try:

        def looked(reader: Reader) -> tuple[Report, int]:
            progress = ProgressLine(sum(totals(reader).values()))
            try:
                return look_at(reader, SystemClock(), progress.ahead), progress.elapsed_ms
            finally:
                progress.end()

        return found.read(looked)
    finally:
        found.close()
