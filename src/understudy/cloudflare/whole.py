"""The API at once, the pages for people only when the first one is requested: a woken object imports less."""

from __future__ import annotations

from collections.abc import Awaitable
from functools import cache
from typing import Any

from understudy.api.app import HotPaths, routed_part
from understudy.api.context import Api
from understudy.config.policy import HubInputs

PROGRAMS = "/api/"
FOR_PROGRAMS = frozenset({"/metrics", "/openapi.json"})


def whole_app(api: Api, given: HubInputs) -> Any:
    """The application, with everything that a server has."""
    api_alone = cache(lambda: routed_part(api))

    @cache
    def with_pages() -> Any:
        from understudy.dashboard.app import routed_with_pages  # noqa: PLC0415 - most events of an object show no page

        return routed_with_pages(api, given.settings, given.shown)

    def rest(scope: Any, receive: Any, send: Any) -> Awaitable[Any]:
        path = scope["path"]
        routed = api_alone if path.startswith(PROGRAMS) or path in FOR_PROGRAMS else with_pages
        answer: Awaitable[Any] = routed()(scope, receive, send)
        return answer

    return HotPaths(api, rest)
