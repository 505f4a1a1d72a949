"""`understudy status`: the hub, its daemons, what is queued and what is wrong, on one screen."""

from __future__ import annotations

from typing import Any

import click

from understudy.cli.client import HubClient
from understudy.cli.commands import Command
from understudy.cli.connection import HubAddress, connect_place
from understudy.cli.exits import AbsentError
from understudy.cli.machine import host_of, shares_machine
from understudy.cli.options import json_option
from understudy.cli.reasons import channel_text, reason_of
from understudy.cli.takeover import line_of
from understudy.cli.terminal import ago, paint, painted_state, safe, say_json, say_lines, table
from understudy.spans import span
from understudy.texts import t
from understudy.worker.hidden import hide

INCIDENTS_SHOWN = 20


@click.command("status", cls=Command, help=t("cli.status.help"), example="understudy status --watch")
@click.option("--watch", is_flag=True, help=t("cli.status.watch"))
@json_option
def status(watch: bool, as_json: bool) -> None:
    """Once, or live until Ctrl-C."""
    place = connect_place()
    if watch:
        hide()  # from runs of this user: it lasts
        from understudy.cli.watch.command import watch as watch_hub

        watch_hub(place, as_json=as_json)
    seen = look(HubClient(place.url, place.key, ca_file=place.ca_file), place)
    say_json(seen) if as_json else say_lines(screen(seen).split("\n"))


def look(hub: HubClient, place: HubAddress) -> dict[str, Any]:
    """Everything the screen shows. ClientError."""
    health = hub.get("/health")
    _, ready = hub.status_of("/ready")
    daemons = hub.daemons()
    return {
        "hub": {"url": place.url, "version": health.get("version"), "startedAt": health.get("startedAt")},
        "hubs": [row for row in hub.get("/api/deployments").get("deployments", []) if row.get("running")],
        "ready": ready,
        "claimable": hub.get("/api/queue").get("count", 0),
        "daemons": daemons,
        "takeover": _takeover(hub),
        "channels": hub.get("/api/channels").get("channels", []),
        "openIncidents": _open_incidents(hub),
        "sharesMachine": shares_machine(place, daemons, host_of(hub)),
    }


def _takeover(hub: HubClient) -> dict[str, Any]:
    """The state of takeover; empty if the hub is too old to have it."""
    try:
        return dict(hub.get("/api/takeover"))
    except AbsentError:
        return {}


def _open_incidents(hub: HubClient) -> list[dict[str, Any]]:
    """All of them, newest first; of a hub that is too old to tell, those among the latest incidents."""
    try:
        return list(hub.get("/api/overview").get("openIncidents", []))
    except AbsentError:
        latest = hub.get("/api/incidents", limit=INCIDENTS_SHOWN).get("incidents", [])
        return [row for row in latest if row.get("state") != "recovered"]


def screen(seen: dict[str, Any]) -> str:
    """The status as text."""
    hub, ready = seen["hub"], seen["ready"] or {}
    word = paint(t("cli.status.ready"), "green") if ready.get("ready") else paint(t("cli.status.not_ready"), "red")
    version = t("cli.status.program", version=safe(hub["version"]), ago=ago(hub["startedAt"]))
    lines = [
        f"{t('cli.status.hub')}  {hub['url']}  {word}  {version}",
        *_hubs(seen["hubs"]),
        f"{t('cli.status.queue')}  {t('cli.status.claimable', count=seen['claimable'])}",
        "",
        *_daemons(seen["daemons"]),
    ]
    incidents = seen["openIncidents"]
    for incident in incidents[:INCIDENTS_SHOWN]:
        text = t("cli.status.incident", id=safe(incident["id"]), daemon=safe(incident["daemonId"]))
        lines.append(f"{painted_state(incident['state'])}  {text}, {ago(incident['openedAt'])}")
    if len(incidents) > INCIDENTS_SHOWN:
        lines.append(t("cli.watch.more", count=len(incidents) - INCIDENTS_SHOWN))
    lines += [_channel(row) for row in seen["channels"] if row.get("lastError") or row.get("dead")]
    if seen["takeover"]:
        lines += ["", line_of(seen["takeover"])]
    if seen["sharesMachine"]:
        lines += ["", paint(t("cli.shared_machine"), "yellow")]
    return "\n".join(lines)


def _hubs(hubs: list[dict[str, Any]]) -> list[str]:
    """A line for each hub, if several share the store."""
    if len(hubs) < 2:  # noqa: PLR2004 - the one that answers has its line already
        return []
    said = [
        (row, t("cli.status.program", version=safe(row["packageVersion"]), ago=ago(row["createdAt"]))) for row in hubs
    ]
    return [f"  {safe(row['hub'])}  {program}" for row, program in said]


def _channel(row: dict[str, Any]) -> str:
    return paint(channel_text(row), "yellow")


def _daemons(daemons: list[dict[str, Any]]) -> list[str]:
    if not daemons:
        return [t("cli.status.no_daemon")]
    heads = ("daemon", "state", "seen", "running", "executor", "version", "reason")
    return table([t(f"cli.column.{head}") for head in heads], [daemon_row(row) for row in daemons]).splitlines()


def executor_of(row: dict[str, Any]) -> str:
    """The executor of tasks that name none: the first one that the daemon reports."""
    tags = (str(tag) for tag in row.get("provides") or ())
    return next((tag.removeprefix("executor:") for tag in tags if tag.startswith("executor:")), "")


def daemon_row(row: dict[str, Any]) -> tuple[str, ...]:
    """One daemon as a line of a table."""
    seen = span(row.get("silentForSec", 0) * 1000) if row.get("lastSeenAt") else None
    return (
        safe(row["daemonId"]),
        painted_state(row["state"]),
        t("cli.ago", span=seen) if seen else "–",
        f"{len(row.get('running') or [])}/{row.get('capacity', 1)}",
        safe(executor_of(row) or "–"),
        safe(row.get("version") or "–"),
        safe(reason_of(row)),
    )
