"""`understudy incidents`: what fell silent and when it came back; who has seen it."""

from __future__ import annotations

from typing import Any

import click

from understudy.cli.client import path_of
from understudy.cli.commands import Group
from understudy.cli.connection import connect
from understudy.cli.exits import AbsentError
from understudy.cli.machine import user_name
from understudy.cli.options import DurationType, json_option
from understudy.cli.terminal import clock_time, note, painted_state, safe, say, say_json, table
from understudy.spans import span
from understudy.texts import t


@click.group("incidents", cls=Group, help=t("cli.incidents.help"), example="understudy incidents list")
def incidents() -> None:
    """See the commands below."""


@incidents.command("list", help=t("cli.incidents.list"), example="understudy incidents list --json")
@click.option(
    "--limit", type=click.IntRange(1, 1000), default=20, show_default=True, metavar="N", help=t("cli.tasks.limit")
)
@json_option
def list_(limit: int, as_json: bool) -> None:
    """The newest first."""
    found = connect().get("/api/incidents", limit=limit)
    if as_json:
        say_json(found)
        return
    rows = [_row(row) for row in found.get("incidents", [])]
    heads = ("id", "daemon", "state", "opened", "length", "acknowledged")
    say(table([t(f"cli.column.{head}") for head in heads], rows)) if rows else note(t("cli.incidents.none"))
    if found.get("next"):
        note(t("cli.tasks.more", count=len(rows)))


@incidents.command("ack", help=t("cli.incidents.ack"), example="understudy incidents ack incident-01J9ZQ4X")
@click.argument("incident_id", metavar="ID")
@click.option("--by", metavar="NAME", help=t("cli.incidents.by"))
@json_option
def ack(incident_id: str, by: str | None, as_json: bool) -> None:
    """The first one counts."""
    body = {"by": by or user_name() or None}
    try:
        answer = connect().post(path_of("incidents", incident_id, "acknowledge"), body, repeatable=True)
    except AbsentError:
        raise AbsentError(t("cli.incidents.unknown", id=incident_id)) from None
    seen_by = safe(answer.get("incident", {}).get("acknowledgedBy", ""))
    say_json(answer) if as_json else say(t("cli.incidents.acked", id=incident_id, by=seen_by))


@incidents.command(
    "snooze", help=t("cli.incidents.snooze"), example="understudy incidents snooze incident-01J9ZQ4X --for 2h"
)
@click.argument("incident_id", metavar="ID")
@click.option(
    "--for", "for_ms", type=DurationType("30d"), required=True, metavar="DURATION", help=t("cli.incidents.for")
)
@json_option
def snooze(incident_id: str, for_ms: int, as_json: bool) -> None:
    """Reminders of it, and notices about it that still wait, pause."""
    path = path_of("incidents", incident_id, "snooze")
    try:
        answer = connect().post(path, {"forSec": for_ms / 1000}, repeatable=True)
    except AbsentError:
        raise AbsentError(t("cli.incidents.unknown", id=incident_id)) from None
    say_json(answer) if as_json else say(t("cli.incidents.snoozed", id=incident_id, span=span(for_ms)))


def _row(row: dict[str, Any]) -> tuple[str, ...]:
    length = span(row["lengthSec"] * 1000) if row.get("lengthSec") is not None else "–"
    return (
        safe(row["id"]),
        safe(row["daemonId"]),
        painted_state(row["state"]),
        clock_time(row["openedAt"]),
        length,
        safe(row.get("acknowledgedBy") or "–"),
    )
