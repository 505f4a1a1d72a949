"""`understudy deployments list`: every start of a hub."""

from __future__ import annotations

from typing import Any

import click

from understudy.cli.commands import Group
from understudy.cli.connection import connect
from understudy.cli.options import json_option
from understudy.cli.terminal import clock_time, paint, safe, say, say_json, table
from understudy.texts import t


@click.group("deployments", cls=Group, help=t("cli.deployments.help"), example="understudy deployments list")
def deployments() -> None:
    """See the command below."""


@deployments.command("list", help=t("cli.deployments.list"), example="understudy deployments list --json")
@json_option
def list_(as_json: bool) -> None:
    """The newest first."""
    found = connect().get("/api/deployments")
    if as_json:
        say_json(found)
        return
    rows = [
        (
            safe(row["versionId"]),
            clock_time(row["createdAt"]),
            safe(row["packageVersion"]),
            safe(row["configFingerprint"]),
            safe(row.get("hub") or row["host"]),
            _state(row),
        )
        for row in found.get("deployments", [])
    ]
    heads = ("id", "started", "version", "settings", "hub", "state")
    say(table([t(f"cli.column.{head}") for head in heads], rows))


def _state(row: dict[str, Any]) -> str:
    """The state of that start: it serves, or its end; "–" for a hub that was killed, or is too old to say."""
    if row.get("running"):
        return paint(t("cli.deployments.runs"), "green")
    return t("cli.deployments.ended", at=clock_time(row["endedAt"])) if row.get("endedAt") else "–"
