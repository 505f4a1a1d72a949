"""`understudy daemons`: list them, set their limits, pause, resume and forget them."""

from __future__ import annotations

import re
from typing import Any

import click

from understudy.cli.client import HubClient, path_of
from understudy.cli.commands import Group
from understudy.cli.connection import connect
from understudy.cli.exits import AbsentError
from understudy.cli.options import DurationType, json_option
from understudy.cli.status import daemon_row
from understudy.cli.terminal import note, say, say_json, table
from understudy.texts import t

_WINDOW = re.compile(r"(\d\d:\d\d)-(\d\d:\d\d)(?:@(\S{1,64}))?")
NONE = "none"


@click.group("daemons", cls=Group, help=t("cli.daemons.help"), example="understudy daemons list")
def daemons() -> None:
    """See the commands below."""


@daemons.command("list", help=t("cli.daemons.list"), example="understudy daemons list --json")
@json_option
def list_(as_json: bool) -> None:
    """All that the hub watches."""
    found = connect().daemons()
    if as_json:
        say_json({"daemons": found})
        return
    rows = [daemon_row(row) for row in found]
    heads = ("daemon", "state", "seen", "running", "executor", "version", "reason")
    say(table([t(f"cli.column.{head}") for head in heads], rows)) if rows else note(t("cli.status.no_daemon"))


@daemons.command(
    "set",
    help=t("cli.daemons.set"),
    example="understudy daemons set mini --late-after 5m --down-after 15m\n"
    "understudy daemons set mini --expected-sleep 23:00-07:00@Europe/Berlin",
)
@click.argument("daemon_id", metavar="ID")
@click.option("--late-after", type=DurationType("30d", "1s"), metavar="DURATION", help=t("cli.daemons.late_after"))
@click.option("--down-after", type=DurationType("30d", "1s"), metavar="DURATION", help=t("cli.daemons.down_after"))
@click.option("--expected-sleep", multiple=True, metavar="HH:MM-HH:MM[@ZONE]", help=t("cli.daemons.expected_sleep"))
@click.option("--reset", is_flag=True, help=t("cli.daemons.reset"))
@json_option
def set_(
    daemon_id: str,
    late_after: int | None,
    down_after: int | None,
    expected_sleep: tuple[str, ...],
    reset: bool,
    as_json: bool,
) -> None:
    """Only what is named changes; what the hub keeps is read first, because it takes all of it at once."""
    if not (reset or late_after or down_after or expected_sleep):
        raise click.UsageError(t("cli.daemons.nothing_to_set"))
    if NONE in expected_sleep and len({*expected_sleep}) > 1:
        raise click.UsageError(t("cli.none_and_more", option="--expected-sleep"))
    windows = [_window(text) for text in expected_sleep if text != NONE]
    hub = connect(admin=True)
    kept: dict[str, Any] = {} if reset else dict(_known(hub, daemon_id).get("settings") or {})
    if late_after is not None:
        kept["lateAfterSec"] = late_after / 1000
    if down_after is not None:
        kept["downAfterSec"] = down_after / 1000
    if expected_sleep:
        kept["expectedSleep"] = windows
    try:
        answer = hub.ask("PUT", path_of("daemons", daemon_id, "settings"), kept, repeatable=True)
    except AbsentError:
        raise _unknown(daemon_id) from None
    say_json(answer) if as_json else say(t("cli.daemons.set_done", id=daemon_id))


@daemons.command("forget", help=t("cli.daemons.forget"), example="understudy daemons forget old-laptop")
@click.argument("daemon_id", metavar="ID")
@json_option
def forget(daemon_id: str, as_json: bool) -> None:
    """Its id is free again."""
    _say(daemon_id, "forget", "DELETE", path_of("daemons", daemon_id), as_json=as_json)


@daemons.command(
    "pause",
    help=t("cli.daemons.pause"),
    example="understudy daemons pause mini\nunderstudy daemons pause mini --for 2h",
)
@click.argument("daemon_id", metavar="ID")
@click.option("--for", "for_ms", type=DurationType("400d", "1s"), metavar="DURATION", help=t("cli.daemons.pause_for"))
@json_option
def pause(daemon_id: str, for_ms: int | None, as_json: bool) -> None:
    """No work for it, no judgement of its silence."""
    body = {"forSec": for_ms / 1000} if for_ms else None
    _say(daemon_id, "pause", "POST", path_of("daemons", daemon_id, "pause"), body, as_json=as_json)


@daemons.command("resume", help=t("cli.daemons.resume"), example="understudy daemons resume mini")
@click.argument("daemon_id", metavar="ID")
@json_option
def resume(daemon_id: str, as_json: bool) -> None:
    """Work again."""
    _say(daemon_id, "resume", "POST", path_of("daemons", daemon_id, "resume"), as_json=as_json)


def _say(
    daemon_id: str, verb: str, method: str, path: str, body: dict[str, Any] | None = None, *, as_json: bool
) -> None:
    try:
        answer = connect(admin=True).ask(method, path, body, repeatable=verb != "forget")
    except AbsentError:
        raise _unknown(daemon_id) from None
    say_json(answer) if as_json else say(t(f"cli.daemons.{verb}_done", id=daemon_id))


def _known(hub: HubClient, daemon_id: str) -> dict[str, Any]:
    try:
        return hub.get(path_of("daemons", daemon_id))
    except AbsentError:
        raise _unknown(daemon_id) from None


def _unknown(daemon_id: str) -> AbsentError:
    return AbsentError(t("cli.daemons.unknown", id=daemon_id))


def _window(text: str) -> dict[str, str]:
    found = _WINDOW.fullmatch(text)
    if not found:
        raise click.UsageError(t("cli.daemons.bad_window", value=text))
    if found[1] == found[2]:
        raise click.UsageError(t("config.channels.empty_window", value=text))
    return {"from": found[1], "to": found[2], "tz": found[3] or "UTC"}
