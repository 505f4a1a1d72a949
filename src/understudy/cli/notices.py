"""`understudy notices`: notices that were sent, wait or could not be sent; and sending one again."""

from __future__ import annotations

from typing import Any

import click

from understudy.cli.client import path_of
from understudy.cli.commands import Command
from understudy.cli.connection import connect
from understudy.cli.exits import AbsentError
from understudy.cli.options import json_option, refuse_two
from understudy.cli.terminal import clock_time, note, paint, safe, say, say_json, table
from understudy.texts import t

COLOURS = {"dead": "red", "waiting": "yellow", "sent": "green", "folded": "dim"}


@click.command(
    "notices",
    cls=Command,
    help=t("cli.notices.help"),
    example="understudy notices --dead\nunderstudy notices --resend notice-1f0c9f5b",
)
@click.option("--dead", is_flag=True, help=t("cli.notices.dead"))
@click.option("--waiting", is_flag=True, help=t("cli.notices.waiting"))
@click.option("--resend", "resend_id", metavar="ID", help=t("cli.notices.resend"))
@click.option(
    "--limit", type=click.IntRange(1, 1000), default=20, show_default=True, metavar="N", help=t("cli.tasks.limit")
)
@json_option
def notices(dead: bool, waiting: bool, resend_id: str | None, limit: int, as_json: bool) -> None:
    """The newest first."""
    refuse_two(resend=resend_id, dead=dead, waiting=waiting)
    if resend_id:
        _resend(resend_id, as_json=as_json)
        return
    state = "dead" if dead else "waiting" if waiting else ""
    found = connect().get("/api/notices", state=state, limit=limit)
    if as_json:
        say_json(found)
        return
    rows = [_row(row) for row in found.get("notices", [])]
    heads = ("id", "channel", "state", "created", "cause", "about", "error")
    say(table([t(f"cli.column.{head}") for head in heads], rows)) if rows else note(t("cli.notices.none"))
    if found.get("next"):
        note(t("cli.tasks.more", count=len(rows)))


def _resend(notice_id: str, *, as_json: bool) -> None:
    try:
        answer = connect(admin=True).post(path_of("notices", notice_id, "resend"))
    except AbsentError:
        raise AbsentError(t("cli.notices.unknown", id=notice_id)) from None
    channel = safe(answer.get("notice", {}).get("channel", ""))
    say_json(answer) if as_json else say(t("cli.notices.resent", id=notice_id, channel=channel))


def _row(row: dict[str, Any]) -> tuple[str, ...]:
    state = str(row.get("state"))
    return (
        safe(row["id"]),
        safe(row["channel"]),
        paint(safe(state), COLOURS.get(state, "dim")),
        clock_time(row["createdAt"]),
        safe(row["cause"]),
        safe(row.get("daemonId") or row.get("taskId") or "–"),
        safe(row.get("lastError") or ""),
    )
