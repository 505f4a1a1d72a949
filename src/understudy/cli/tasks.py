"""`understudy tasks` lists them, `understudy task ID` tells the story of one."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import click

from understudy.cli.client import path_of
from understudy.cli.commands import Command
from understudy.cli.connection import connect
from understudy.cli.exits import AbsentError
from understudy.cli.options import json_option
from understudy.cli.terminal import (
    ago,
    clock_time,
    columns,
    cut,
    json_of,
    note,
    paint,
    painted_state,
    safe,
    safe_lines,
    say,
    say_json,
    say_lines,
    table,
)
from understudy.clock import parse_iso
from understudy.spans import span
from understudy.texts import t

STATUSES = ("pending", "claimed", "done", "failed", "cancelled")
INDENT = "  "
CONTENT_LINES = 20  # of what was asked; `--json` has all of it
CONTENT_COLUMNS = 2400  # of each of them


@click.command(
    "tasks", cls=Command, help=t("cli.tasks.help"), example="understudy tasks --status failed\nunderstudy tasks --json"
)
@click.option("--status", type=click.Choice(STATUSES), help=t("cli.tasks.status"))
@click.option("--source", metavar="NAME", help=t("cli.tasks.source"))
@click.option("--search", metavar="TEXT", help=t("cli.tasks.search"))
@click.option(
    "--limit", type=click.IntRange(1, 1000), default=20, show_default=True, metavar="N", help=t("cli.tasks.limit")
)
@json_option
def tasks(status: str | None, source: str | None, search: str | None, limit: int, as_json: bool) -> None:
    """The newest first."""
    found = connect().get("/api/tasks", status=status, source=source, q=search, limit=limit)
    if as_json:
        say_json(found)
        return
    rows = [
        (
            safe(row["id"]),
            painted_state(row["status"]),
            safe(row.get("priority", "")),
            ago(row.get("queuedAt")),
            safe(row.get("content", "")),
        )
        for row in found.get("tasks", [])
    ]
    if rows:
        heads = ("id", "status", "priority", "queued", "content")
        say(table([t(f"cli.column.{head}") for head in heads], rows))
    else:
        note(t("cli.tasks.none"))
    if found.get("next"):
        note(t("cli.tasks.more", count=len(rows)))


@click.command("task", cls=Command, help=t("cli.task.help"), example="understudy task task-01J9ZQ4X")
@click.argument("task_id", metavar="ID")
@json_option
def task(task_id: str, as_json: bool) -> None:
    """Its fields, attempts, history and result."""
    try:
        record = connect().get(path_of("tasks", task_id))
    except AbsentError:
        raise AbsentError(t("cli.task.unknown", id=task_id)) from None
    if as_json:
        say_json(record)
        return
    for part in (_head(record), _attempts(record), _history(record), _result(record)):
        if part:
            say_lines(part)


def _head(record: dict[str, Any]) -> list[str]:
    lines = [f"{paint(safe(record['id']), 'bold')}  {painted_state(record['status'])}"]
    lines += [INDENT + line for line in _beginning(safe_lines(str(record.get("content", ""))).splitlines())]
    facts = {
        "source": record.get("source"),
        "priority": record.get("priority"),
        "needs": ", ".join(record.get("needs") or []) or "–",
        "on_loss": record.get("onLoss"),
        "time_limit": span(record["timeoutSec"] * 1000) if record.get("timeoutSec") else None,
        "not_before": _not_before(record),
        "losses": record.get("losses") or None,
        "waits_for": record.get("waitingFor"),
        "note": record.get("note"),
        "progress": record.get("progress"),
    }
    shown = [f"{t(f'cli.fact.{name}')}: {safe(value)}" for name, value in facts.items() if value not in (None, "")]
    return [*lines, paint(INDENT + " · ".join(shown), "dim")]


def _not_before(record: dict[str, Any]) -> str | None:
    """The end of the delay or pause that a waiting task was given; it may be past. None: it was given none."""
    at, since = record.get("availableAt"), record.get("updatedAt")
    if record.get("status") != "pending" or record.get("waitingFor") or not (at and since):
        return None
    return clock_time(at) if parse_iso(at) > parse_iso(since) else None


def _beginning(lines: list[str]) -> list[str]:
    """The first lines, and of each the first columns, with … where something is missing."""
    return [cut(line, CONTENT_COLUMNS) for line in lines[:CONTENT_LINES]] + ["…"] * (len(lines) > CONTENT_LINES)


def _attempts(record: dict[str, Any]) -> list[str]:
    rows = []
    for number, attempt in enumerate(record.get("attempts", []), 1):
        ended = attempt.get("endedAt")
        took = span(parse_iso(ended) - parse_iso(attempt["claimedAt"])) if ended else t("cli.task.still_runs")
        outcome = painted_state(attempt["outcome"]) if attempt.get("outcome") else "–"
        rows.append((str(number), safe(attempt["workerId"]), clock_time(attempt["claimedAt"]), took, outcome))
    if not rows:
        return []
    heads = ("attempt", "worker", "claimed", "took", "outcome")
    return ["", *table([t(f"cli.column.{head}") for head in heads], rows).splitlines()]


def _history(record: dict[str, Any]) -> list[str]:
    events = record.get("history", [])
    instants = [parse_iso(event["at"]) for event in events]
    distances = ["", *(f"+{span(at - before)}" for before, at in pairwise(instants))]
    width = max(map(columns, distances))
    lines = []
    for event, distance in zip(events, distances, strict=False):
        padded = " " * (width - columns(distance)) + distance
        colour = {"warning": "yellow", "critical": "red"}.get(event["level"], "")
        lines.append(f"{clock_time(event['at'])}  {padded}  {paint(safe(event['message']), colour)}")
    return ["", paint(t("cli.task.history"), "dim"), *lines] if lines else []


def _result(record: dict[str, Any]) -> list[str]:
    result = record.get("result")
    if not result:
        return []
    said = result.get("output") if result.get("success") else result.get("error")
    text = said if isinstance(said, str) else ("" if said is None else json_of(said))
    return ["", paint(t("cli.task.result"), "dim"), *(INDENT + line for line in safe_lines(text).splitlines())]
