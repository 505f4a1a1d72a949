"""`understudy doctor`: problems, their reasons, and the command that fixes each."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from understudy.cli.commands import Command
from understudy.cli.exits import Exit
from understudy.cli.findings import NOTICE, OK, PROBLEM, AutomaticFix, Finding, Here, look_around
from understudy.cli.options import json_option
from understudy.cli.terminal import paint, safe, say, say_json, say_lines
from understudy.errors import UnderstudyError
from understudy.texts import t

_MARKS = {OK: ("✓", "green"), NOTICE: ("!", "yellow"), PROBLEM: ("✗", "red")}


EXAMPLE = """understudy doctor
understudy doctor --fix
understudy doctor --json"""


@click.command("doctor", cls=Command, help=t("cli.doctor.help"), example=EXAMPLE)
@click.option("--fix", is_flag=True, help=t("cli.doctor.fix"))
@json_option
def doctor(fix: bool, as_json: bool) -> int:
    """1 if something is wrong; notices do not count."""
    here = Here(os.environ, Path.cwd())
    findings = look_around(here)
    fixes = list(fixes_of(findings, here)) if fix else []
    if fixes:
        findings = look_around(here)
    is_well = all(finding.level != PROBLEM for finding in findings)
    if as_json:
        shown_fixes = {
            "fixes": [{"name": f.name, "what": f.what, "done": done, "told": outcome} for f, done, outcome in fixes]
        }
        say_json(
            {"ok": is_well, **(shown_fixes if fix else {}), "findings": [finding_json(finding) for finding in findings]}
        )
        return Exit.OK if is_well else Exit.FAILED
    for finding, is_done, outcome in fixes:
        say(t("cli.fix.done" if is_done else "cli.fix.not_done", what=safe(finding.what), outcome=safe(outcome)))
    if fix:
        _say_rest(fixes, findings)
    for finding in findings:
        say_lines(shown(finding).split("\n"))
    notices = sum(finding.level == NOTICE for finding in findings)
    well = t("cli.doctor.notices", count=notices) if notices else t("cli.doctor.well")
    say("\n" + (well if is_well else t("cli.doctor.unwell")))
    return Exit.OK if is_well else Exit.FAILED


def finding_json(finding: Finding) -> dict[str, Any]:
    """A finding as `--json` prints it; its keys are older than its fields."""
    keys = {"fix": "mend", "automatic": "remedy"}
    return {keys.get(name, name): value for name, value in asdict(finding).items()}


def fixes_of(findings: list[Finding], here: Here) -> Iterator[tuple[Finding, bool, str]]:
    """Each automatic fix once: the finding, whether it was done, and its outcome."""
    from understudy.cli.fixes import apply

    applied: set[AutomaticFix] = set()
    for finding in findings:
        automatic = finding.automatic
        if finding.level == OK or automatic is None or automatic in applied:
            continue
        applied.add(automatic)
        try:
            yield finding, True, apply(automatic, here)
        except UnderstudyError as error:
            yield finding, False, error.message
        except OSError as error:
            yield finding, False, f"{error.strerror or error}"


def _say_rest(fixes: list[tuple[Finding, bool, str]], findings: list[Finding]) -> None:
    """That nothing was done is said too, and what is left to a person."""
    if not fixes:
        say(t("cli.fix.nothing"))
    left = sum(finding.level != OK for finding in findings)
    if left:
        say(t("cli.fix.left", count=left))
    say()


def shown(finding: Finding) -> str:
    """A finding as up to three lines."""
    mark, colour = _MARKS[finding.level]
    lines = [f"{paint(mark, colour)} {safe(finding.what)}"]
    lines += [f"    {safe(finding.why)}"] if finding.why else []
    lines += [f"    → {safe(finding.fix)}"] if finding.fix else []
    return "\n".join(lines)
