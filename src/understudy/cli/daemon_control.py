"""`understudy daemon-control`: drain, resume, restart or update one daemon remotely."""

from __future__ import annotations

import re
import time
from typing import Any

import click

from understudy.cli.client import HubClient, path_of
from understudy.cli.commands import Command
from understudy.cli.connection import connect
from understudy.cli.exits import AbsentError, ClientError, Exit, UnreachableError
from understudy.cli.options import DurationType, json_option
from understudy.cli.terminal import note, safe, say, say_json
from understudy.texts import t

LOOK_S = 0.5
GRACE_S = 60.0  # beyond the directive's own time: a daemon that started in time may still be busy with it
STARTED_S_MAX = 900.0
SHA256 = re.compile(r"[0-9a-fA-F]{64}")
FINAL = frozenset({"done", "failed", "expired"})


@click.command(
    "daemon-control",
    cls=Command,
    help=t("directives.help"),
    example="understudy daemon-control mini drain --wait\n"
    "understudy daemon-control mini update --version 0.2.0 --sha256 HASH --wait\n"
    "understudy daemon-control mini update --wheel https://example.org/understudy-0.2.0-py3-none-any.whl --sha256 HASH",
)
@click.argument("daemon_id", metavar="ID")
@click.argument(
    "kind", metavar="drain|resume|restart|update", type=click.Choice(["drain", "resume", "restart", "update"])
)
@click.option("--version", metavar="VERSION", help=t("directives.version"))
@click.option("--wheel", metavar="URL|PATH", help=t("directives.wheel"))
@click.option("--sha256", metavar="HASH", help=t("directives.sha256"))
@click.option(
    "--expires", type=DurationType("1d", "10s"), default="10m", metavar="DURATION", help=t("directives.expires")
)
@click.option("--wait", is_flag=True, help=t("directives.wait"))
@json_option
def daemon_control(
    daemon_id: str,
    kind: str,
    version: str | None,
    wheel: str | None,
    sha256: str | None,
    expires: int,
    wait: bool,
    as_json: bool,
) -> int:
    """Ask, and wait for the end if wanted → 0 only if it is on its way, or done."""
    if kind == "update" and bool(version) == bool(wheel):
        raise click.UsageError(t("directives.one_of"))
    if wheel and not SHA256.fullmatch(sha256 or ""):
        raise click.UsageError(t("directives.needs_hash"))
    hub = connect(admin=True)
    named = {"version": version, "wheel": wheel, "sha256": sha256}
    order = {"kind": kind, "expiresSec": expires / 1000} | {k: v for k, v in named.items() if v}
    try:
        asked = hub.post(path_of("daemons", daemon_id, "directives"), order)
    except AbsentError:
        raise AbsentError(t("cli.daemons.unknown", id=daemon_id)) from None
    if not as_json and not wait:
        note(t("directives.asked", kind=kind, id=safe(daemon_id)))
    shown = _awaited(hub, daemon_id, asked, expires / 1000) if wait else asked
    if as_json:
        say_json(shown)
    elif wait:
        word = t(f"directives.word_{shown['state']}")
        say(t("directives.ended", kind=kind, id=safe(daemon_id), word=word, detail=safe(shown.get("detail", ""))))
    return Exit.FAILED if wait and shown["state"] != "done" else Exit.OK


def _awaited(hub: HubClient, daemon_id: str, asked: dict[str, Any], expires_s: float) -> dict[str, Any]:
    """The directive once it has ended; bounded, and a hub that is away for a while is waited for."""
    until_s = time.monotonic() + expires_s + STARTED_S_MAX + GRACE_S
    shown = asked
    while shown["state"] not in FINAL:
        if time.monotonic() > until_s:
            raise ClientError(t("directives.no_end"))
        time.sleep(LOOK_S)
        try:
            known = hub.get(path_of("daemons", daemon_id)).get("directives", [])
        except UnreachableError:
            continue
        found = [row for row in known if row["id"] == asked["id"]]
        if not found:
            raise AbsentError(t("cli.daemons.unknown", id=daemon_id))
        shown = found[0]
    return shown
