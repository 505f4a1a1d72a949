"""The amounts and intervals that the loops of a daemon use, from its settings."""

from __future__ import annotations

from understudy.clock import parse_iso
from understudy.daemon.inputs import DaemonInputs
from understudy.worker.state import Duties

TOKEN_LASTS_MS = 365 * 86_400_000  # `claude setup-token`: docs/measured.md, Logins


def duties_of(given: DaemonInputs) -> Duties:
    """The amounts and intervals of this daemon's work."""
    settings = given.settings
    return Duties(
        capacity=settings.capacity,
        provides=settings.provides,
        interval_ms=settings.heartbeat_interval_ms,
        poll_wait_ms=settings.poll_wait_ms,
        drain_ms=settings.drain_ms,
        token_ends_at=token_end(settings.token_issued_at),
        may_update=settings.allow_update and given.can_update,
        run_ms_max=settings.execution_timeout_ms,
        hub_away_ms=settings.hub_away_after_ms,
    )


def token_end(issued_at: str) -> int:
    """The end of a token that was created on that day, in ms since the epoch; 0 if unknown."""
    return parse_iso(f"{issued_at}T00:00:00Z") + TOKEN_LASTS_MS if issued_at else 0
