"""The API of a running hub, as its settings want it; the same on threads and on one loop."""

from __future__ import annotations

from understudy.api.auth import Keys, RateLimit
from understudy.api.context import Api
from understudy.api.hub import Hub
from understudy.config.policy import HubInputs
from understudy.wire.limits import RESULT_BYTES_MAX


def api_of(hub: Hub, given: HubInputs, *, body_bytes_max: int = RESULT_BYTES_MAX) -> Api:
    """`body_bytes_max`: see Api."""
    settings = given.settings
    return Api(
        hub,
        Keys(given.environment_keys),
        RateLimit(hub.clock, settings.rate_per_s, settings.rate_burst),
        publishes_docs=settings.docs,
        redacts_results=settings.redact_results,
        body_bytes_max=body_bytes_max,
    )
