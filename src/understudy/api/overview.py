"""The endpoint that home pages are drawn from."""

from __future__ import annotations

from understudy.api.endpoint import Endpoint
from understudy.hub.overview import overview
from understudy.wire.answers.overview import OverviewAnswer

ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint(
        "GET", "/api/overview", "Daemons with their last 24 hours, runs, queue, open incidents, takeover", ("read",),
        show=lambda _, view: overview(view), answer=(OverviewAnswer,),
    ),
)  # fmt: skip
