"""Starts and updates, of the hub and of daemons: which version ran since when."""

from __future__ import annotations

from msgspec import Struct

from understudy.hub.views import View
from understudy.store.base import StoredEvent
from understudy.wire.answers.events import DeploymentJson

STARTS = ("daemon.registered", "daemon.started")
STARTS_SHOWN = 50


class HubStart(Struct, frozen=True):
    """A start of a hub, and what is other than at the start before."""

    start: DeploymentJson
    version_before: str  # "": the same, or none is known
    has_other_settings: bool


class DaemonStart(Struct, frozen=True):
    """A start of a daemon, as its first heartbeat reported it."""

    id: int  # of its event
    daemon_id: str
    at: int
    is_first: bool  # nobody had heard of it before
    version: str  # "": not said
    version_before: str  # "": the same, or none is known


def hub_starts(view: View) -> list[HubStart]:
    """The list of `GET /api/deployments`, each beside the one before it: of the same hub, if there is one."""
    before: dict[str, DeploymentJson] = {}
    last, found = None, []
    for start in reversed(view.deployments().deployments):
        found.append(_hub_start(start, before.get(start.hub, last)))
        before[start.hub] = last = start
    return found[::-1]


def _hub_start(start: DeploymentJson, before: DeploymentJson | None) -> HubStart:
    if before is None:
        return HubStart(start, "", has_other_settings=False)
    is_other = before.package_version != start.package_version
    has_other_settings = not is_other and before.config_fingerprint != start.config_fingerprint
    return HubStart(start, before.package_version if is_other else "", has_other_settings)


def daemon_starts(view: View, daemon_id: str = "") -> list[DaemonStart]:
    """The latest starts of a daemon, or ("") of all, newest first."""
    versions: dict[str, str] = {}
    starts = [_daemon_start(row, versions) for row in view.reader.last_events_of(daemon_id, STARTS_SHOWN, STARTS)]
    return starts[::-1]


def _daemon_start(row: StoredEvent, versions: dict[str, str]) -> DaemonStart:
    """With the version of its last start before; `versions` has these by daemon."""
    event = row.event
    version = str(event.fields.get("version") or "")
    before = versions.get(event.daemon_id, "")
    versions[event.daemon_id] = version or before
    is_other = version and before and version != before
    is_first = event.name == "daemon.registered"
    return DaemonStart(row.id, event.daemon_id, event.at, is_first, version, before if is_other else "")
