"""Checks that notices of a problem would reach somebody."""

from __future__ import annotations

from collections.abc import Iterator

from understudy.cli.client import HubClient
from understudy.cli.exits import ClientError
from understudy.cli.findings.finding import NOTICE, OK, PROBLEM, Finding
from understudy.texts import t


def look(hub: HubClient) -> Iterator[Finding]:
    """Each channel, or that there is none."""
    try:
        channels = hub.get("/api/channels").get("channels", [])
    except ClientError:
        return
    if not any(row.get("configured") for row in channels):
        what, why, fix = (t(f"cli.doctor.channel.none.{part}") for part in ("what", "why", "fix"))
        yield Finding("channels", NOTICE, what, why, fix)
    for row in channels:
        name, reason = str(row.get("name")), str(row.get("lastError") or "–")
        if row.get("dead") or (row.get("waiting") and row.get("lastError")):
            what = t("cli.doctor.channel.what", name=name, waiting=row["waiting"], dead=row["dead"], reason=reason)
            fix = t("cli.doctor.channel.fix", name=name)
            yield Finding("channel", PROBLEM, what, t("cli.doctor.channel.why"), fix)
        elif row.get("configured"):
            yield Finding("channel", OK, t("cli.doctor.channel.ok", name=name))
