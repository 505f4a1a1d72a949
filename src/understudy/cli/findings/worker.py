"""A hub without a server: how doctor knows one, and what is different there."""

from __future__ import annotations

from collections.abc import Iterator

from understudy.cli.client import HubClient
from understudy.cli.connection import HubAddress
from understudy.cli.exits import ClientError
from understudy.cli.findings.finding import OK, Finding
from understudy.texts import t

HOST = "durable-object"  # the machine that its starts name (cloudflare/hub_object.py)


def is_worker(hub: HubClient, place: HubAddress) -> bool:
    """True if the hub runs as a Cloudflare Worker; False also for a key that may not read."""
    if not place.key:
        return False
    try:
        starts = hub.get("/api/deployments").get("deployments", [])
    except ClientError:
        return False
    return bool(starts) and isinstance(starts[0], dict) and starts[0].get("host") == HOST


def look() -> Iterator[Finding]:
    """Say where it runs: no service, disk or database of any machine of ours belongs to it."""
    yield Finding("worker", OK, t("cli.doctor.worker.what"), t("cli.doctor.worker.why"))
