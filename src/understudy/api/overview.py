"""The endpoints that pages are drawn from."""

from __future__ import annotations

from typing import Any

from understudy.api.endpoint import Endpoint, Request
from understudy.errors import BadRequestError
from understudy.hub.numbers import BUCKETS, numbers
from understudy.hub.overview import overview
from understudy.hub.views import View
from understudy.wire.answers.numbers import NumbersAnswer
from understudy.wire.answers.overview import OverviewAnswer


def _numbers(request: Request, view: View) -> Any:
    asked = request.query.get("span", "") or "day"
    span = next((known for known in BUCKETS if known == asked), None)
    if span is None:
        raise BadRequestError("Validation failed", (f"span: Expected one of {', '.join(BUCKETS)}",))
    return numbers(view, span)


ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint(
        "GET", "/api/overview", "Daemons with their last 24 hours, runs, queue, open incidents, takeover", ("read",),
        show=lambda _, view: overview(view), answer=(OverviewAnswer,),
    ),
    Endpoint(
        "GET", "/api/numbers", "Queue, pickup and run times, heartbeats, commits and spending of a day or month",
        ("read",), show=_numbers, answer=(NumbersAnswer,), searches=lambda _: True,
        query=(("span", {"type": "string", "enum": list(BUCKETS), "default": "day"}),),
    ),
)  # fmt: skip
