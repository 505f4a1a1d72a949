"""Facts about machines: where the hub runs, whether daemons are there too, whether this one keeps services running."""

from __future__ import annotations

import getpass
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from understudy.cli.connection import HubAddress
from understudy.cli.exits import ClientError

if TYPE_CHECKING:
    from understudy.cli.client import HubClient
    from understudy.daemon.service import Run

ALIVE = frozenset({"healthy", "late", "stuck", "draining", "paused"})


def shares_machine(place: HubAddress, daemons: list[dict[str, Any]], hub_host: str) -> bool:
    """True if every living daemon seems to be where the hub is: same machine id here, or the host's own name."""
    alive = [row for row in daemons if row.get("state") in ALIVE]
    here = _machine_id(place.data)
    return bool(alive) and all(_is_there(row, hub_host, here if place.is_loopback else "") for row in alive)


def _is_there(row: dict[str, Any], hub_host: str, machine_id: str) -> bool:
    if machine_id and row.get("machineId") == machine_id:
        return True
    return bool(hub_host) and row.get("daemonId") in (hub_host, hub_host.partition(".")[0])


def _machine_id(data: Path | None) -> str:
    try:
        return (data / "machine-id").read_text("ascii").strip() if data else ""
    except (OSError, UnicodeDecodeError):
        return ""


def host_of(hub: HubClient) -> str:
    """The machine that the hub was last started on; "" if it is not known."""
    try:
        deployments = hub.get("/api/deployments").get("deployments", [])
    except ClientError:
        return ""
    return str(deployments[0].get("host", "")) if deployments else ""


def is_lingering(run: Run) -> bool | None:
    """True if systemd keeps this user's services running without a session; None if it does not say."""
    ran = run(("loginctl", "show-user", user_name() or str(os.getuid()), "--property=Linger"))
    return {"Linger=yes": True, "Linger=no": False}.get(ran.out.strip())


def user_name() -> str:
    """The name of this user; "" for one without a name, as in a container."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return ""
