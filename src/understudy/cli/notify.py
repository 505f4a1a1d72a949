"""`understudy notify test`: one message now, through the hub and its outbox, and what the service said."""

from __future__ import annotations

import time
from typing import Any

import click

from understudy.cli.client import HubClient, path_of
from understudy.cli.commands import Group
from understudy.cli.connection import connect
from understudy.cli.exits import ClientError, Exit, RejectedError
from understudy.cli.options import json_option
from understudy.cli.terminal import paint, safe, say, say_json
from understudy.clock import SystemClock
from understudy.texts import t

WITHIN_MS = 45_000
LOOK_EVERY_S = 0.1


@click.group("notify", cls=Group, help=t("cli.notify.help"), example="understudy notify test")
def notify() -> None:
    """See the commands below."""


@notify.command("test", help=t("cli.notify.test"), example="understudy notify test slack")
@click.argument("channel", required=False, metavar="[CHANNEL]")
@json_option
def test(channel: str | None, as_json: bool) -> int:
    """0 if each arrived."""
    hub = connect(admin=True)
    try:
        asked = hub.post("/api/channels/test", {"channel": channel} if channel else {})
    except RejectedError as error:
        if error.fields.get("code") != "no_channel":
            raise
        raise ClientError(t("cli.notify.none")) from None
    seen = _wait(hub, [row["id"] for row in asked.get("notices", [])])
    if as_json:
        say_json({"notices": seen})
    else:
        for row in seen:
            say(_line(row))
    return Exit.OK if all(row.get("state") == "sent" for row in seen) else Exit.FAILED


def _wait(hub: HubClient, ids: list[str]) -> list[dict[str, Any]]:
    """Each as it stands once it has ended, or when the time is over."""
    clock = SystemClock()
    until = clock.mono_ms() + WITHIN_MS
    while True:
        seen = [hub.get(path_of("notices", notice_id)) for notice_id in ids]
        if all(row.get("state") != "waiting" for row in seen) or clock.mono_ms() >= until:
            return seen
        time.sleep(LOOK_EVERY_S)


def _line(row: dict[str, Any]) -> str:
    channel = safe(row.get("channel", ""))
    match row.get("state"):
        case "sent":
            return f"{paint('✓', 'green')} {t('cli.notify.sent', channel=channel)}"
        case "waiting":
            return f"{paint('✗', 'red')} {t('cli.notify.silent', channel=channel)}"
    return f"{paint('✗', 'red')} {t('cli.notify.failed', channel=channel, reason=safe(row.get('lastError') or '–'))}"
