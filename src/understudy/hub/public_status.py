"""The state of the whole as strangers may see it: states and incidents, no work, no words of daemons or owners."""

from __future__ import annotations

from msgspec import Struct

from understudy.clock import iso
from understudy.coordinator.nouns import Incident
from understudy.hub.daemon_list import each_daemon
from understudy.hub.views import View
from understudy.store.queries import INCIDENTS

DAEMONS_SHOWN = 100
INCIDENTS_SHOWN = 20
INCIDENTS_KEPT_MS = 7 * 86_400_000


class PublicDaemon(Struct, frozen=True):
    """A daemon by its number: they are counted in the order in which they were first seen."""

    number: int
    name: str  # its id; "" where names are nobody's business
    state: str
    since_at: str


class PublicIncident(Struct, frozen=True):
    """A silence that lasts, or has ended lately."""

    daemon: PublicDaemon
    opened_at: str
    ended_at: str  # "": it lasts
    was_down: bool


class PublicStatus(Struct, frozen=True):
    """All of it, with the instant of which it is true."""

    at: str
    counts: dict[str, int]
    daemons: list[PublicDaemon]
    incidents: list[PublicIncident]


def public_status(view: View, *, with_names: bool) -> PublicStatus:
    """The states as they are now."""
    known = sorted(
        (daemon.first_seen_at, daemon.id, daemon.state, daemon.since_at or daemon.first_seen_at)
        for daemon in each_daemon(view.reader)
    )
    shown = {
        daemon_id: PublicDaemon(number, daemon_id if with_names else "", state, iso(since))
        for number, (_, daemon_id, state, since) in enumerate(known, 1)
    }
    counts: dict[str, int] = {}
    for daemon in shown.values():
        counts[daemon.state] = counts.get(daemon.state, 0) + 1
    since = view.now.wall - INCIDENTS_KEPT_MS
    found = [row for row in view.reader.find(INCIDENTS, limit=INCIDENTS_SHOWN) if not 0 < row.recovered_at < since]
    incidents = [_incident(row, shown[row.daemon_id]) for row in found if row.daemon_id in shown]
    return PublicStatus(iso(view.now.wall), counts, [*shown.values()], incidents)


def _incident(incident: Incident, daemon: PublicDaemon) -> PublicIncident:
    ended = iso(incident.recovered_at) if incident.recovered_at else ""
    return PublicIncident(daemon, iso(incident.opened_at), ended, bool(incident.down_at))
