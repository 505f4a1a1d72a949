"""`understudy tail`: the hub's event log, live; after a break it goes on where it stopped."""

from __future__ import annotations

import json
import random
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import click

from understudy.backoff import Backoff
from understudy.cli.client import ANSWER_BYTES_MAX, HubClient
from understudy.cli.commands import Command
from understudy.cli.connection import connect
from understudy.cli.exits import ClientError, UnreachableError
from understudy.cli.options import SinceType
from understudy.cli.terminal import is_coloured, json_of, note, safe, say
from understudy.clock import parse_iso
from understudy.log import LEVELS, pretty_line
from understudy.texts import t
from understudy.worker.hidden import hide

LINES_SINCE = 1000
EXAMPLE = """understudy tail
understudy tail --search heartbeat
understudy tail --level warning --since 2h --format json"""
PAUSE_MS_FIRST, PAUSE_MS_MAX = 200, 5_000
EVENT_BYTES_MAX = ANSWER_BYTES_MAX  # a hub's own event has some KiB


@click.command(
    "tail",
    cls=Command,
    help=t("cli.tail.help"),
    example=EXAMPLE,
)
@click.option("--search", metavar="TEXT", help=t("cli.tail.search"))
@click.option("--level", type=click.Choice(LEVELS), help=t("cli.tail.level"))
@click.option("--since", type=SinceType(), metavar="TIME", help=t("cli.tail.since"))
@click.option("--format", "form", type=click.Choice(("pretty", "json")), default="pretty", help=t("cli.tail.format"))
@click.option("--lines", type=click.IntRange(1, 1000), metavar="N", help=t("cli.tail.lines"))
@click.option("--no-follow", is_flag=True, help=t("cli.tail.no_follow"))
def tail(
    search: str | None, level: str | None, since: str | None, form: str, lines: int | None, no_follow: bool
) -> None:
    """The last lines, then whatever happens."""
    hub = connect()
    wanted = {
        "search": search,
        "level": level,
        "since": since,
        "limit": lines or (LINES_SINCE if since else 50),
    }
    if no_follow:
        for event in hub.get("/api/events", **wanted).get("events", []):
            say(line_of(event, form))
        return
    hide()  # from runs of this user: it lasts
    away = lambda reason: note(t("cli.tail.away", reason=reason))  # noqa: E731
    for event in follow(hub, wanted, away=away, back=lambda: note(t("cli.tail.back", url=hub.url))):
        say(line_of(event, form))


def follow(
    hub: HubClient,
    wanted: dict[str, Any],
    *,
    away: Callable[[str], None],
    back: Callable[[], None],
    alive: Callable[[], None] = lambda: None,
) -> Iterator[dict[str, Any]]:
    """Events without end; `away` and `back` are called when the stream breaks and goes on, `alive` where it is silent.

    ClientError if the hub refuses, or cannot be reached at the very beginning.
    """
    last_id = 0
    pauses = Backoff(PAUSE_MS_FIRST, PAUSE_MS_MAX, random.random)
    is_away = has_begun = False
    while True:
        reason = t("cli.tail.ended")
        try:
            for event in _events(hub.stream("/api/events", last_event_id=str(last_id or ""), follow="1", **wanted)):
                if is_away:
                    back()
                has_begun, is_away = True, False
                pauses.reset()
                if event is None:
                    alive()
                    continue
                last_id = max(last_id, event.get("id", 0))  # what is live only has none
                yield event
        except UnreachableError as error:
            if not has_begun:
                raise
            reason = error.message
        if not is_away:
            away(reason)
        is_away = True
        time.sleep(pauses.next_ms() / 1000)


def _events(lines: Iterator[bytes]) -> Iterator[dict[str, Any] | None]:
    """Events of a stream; None for each other sign of life. ClientError for one that has no end."""
    data: list[bytes] = []
    left = EVENT_BYTES_MAX
    for line in lines:
        left -= len(line)
        if left < 0:
            raise ClientError(t("cli.client.too_much"))
        if line.startswith(b"data:"):
            data.append(line.removeprefix(b"data:").removeprefix(b" "))
        elif not line and data:
            yield json.loads(b"\n".join(data))
            data, left = [], EVENT_BYTES_MAX
        elif not line:
            left = EVENT_BYTES_MAX
            yield None


def line_of(event: dict[str, Any], form: str) -> str:
    """One event as one line."""
    if form == "json":
        return json_of(event)
    level = event["level"] if event["level"] in LEVELS else "info"
    return pretty_line(
        parse_iso(event["at"]),
        level,
        safe(event["component"]),
        safe(event["message"]),
        event["fields"],
        colour=is_coloured(sys.stdout),
    )
