"""`understudy doctor`: what is wrong, why, and the command that mends it."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path

import click

from understudy.cli.commands import Command
from understudy.cli.exits import Exit
from understudy.cli.findings import NOTICE, OK, PROBLEM, Finding, examine
from understudy.cli.options import json_option
from understudy.cli.terminal import paint, safe, say, say_json
from understudy.texts import t

_MARKS = {OK: ("✓", "green"), NOTICE: ("!", "yellow"), PROBLEM: ("✗", "red")}


@click.command("doctor", cls=Command, help=t("cli.doctor.help"), example="understudy doctor\nunderstudy doctor --json")
@json_option
def doctor(as_json: bool) -> int:
    """1 if something is wrong; notices do not count."""
    findings = examine(os.environ, Path.cwd())
    is_well = all(finding.level != PROBLEM for finding in findings)
    if as_json:
        say_json({"ok": is_well, "findings": [asdict(finding) for finding in findings]})
    else:
        for finding in findings:
            say(shown(finding))
        say("\n" + (t("cli.doctor.well") if is_well else t("cli.doctor.unwell")))
    return Exit.OK if is_well else Exit.FAILED


def shown(finding: Finding) -> str:
    """A finding as up to three lines."""
    mark, colour = _MARKS[finding.level]
    lines = [f"{paint(mark, colour)} {safe(finding.what)}"]
    lines += [f"    {safe(finding.why)}"] if finding.why else []
    lines += [f"    → {safe(finding.mend)}"] if finding.mend else []
    return "\n".join(lines)
