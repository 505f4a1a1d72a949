"""The status page: states and incidents for people without a login. It exists only if a setting switches it on."""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.responses import Response
from starlette.routing import Route

from understudy.api.shared import Shared
from understudy.dashboard.asked import Asked
from understudy.dashboard.frame import ICONS, worst_of
from understudy.dashboard.site import Site
from understudy.errors import UnderstudyError
from understudy.hub.public_status import DAEMONS_SHOWN, PublicStatus, public_status
from understudy.texts import LANGUAGES

OFF, IDS = "off", "ids"  # words of the setting; `on` shows numbers instead of ids
LINE = "status"  # of reads, and of the rate: strangers stand in it
KEPT_MS = 5_000  # a status is read once for all who look within so long


def status_routes(site: Site, wanted: str) -> list[Route]:
    """Its one route, or none."""
    if wanted == OFF:
        return []
    return [Route("/status", StatusApp(site, with_names=wanted == IDS), methods=["GET"])]


class StatusApp:
    """The status page."""

    def __init__(self, site: Site, *, with_names: bool) -> None:
        self._site = site
        self._with_names = with_names
        self._lately = Shared(site.api.hub.clock, KEPT_MS, self._read)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer."""
        site, asked = self._site, Asked(scope, receive, self._site.public_url)
        try:
            response = await self._answer(asked)
        except UnderstudyError as error:
            response = site.trouble(asked, error)
        await response(scope, receive, send)

    async def _answer(self, asked: Asked) -> Response:
        language = asked.query("lang")
        if language in LANGUAGES:
            asked.keep_language(language)
            asked.language = language
        status = await self._status()
        worst = worst_of(status.counts)
        order = [*ICONS]
        daemons = sorted(status.daemons, key=lambda one: (order.index(one.state), one.number))
        more = max(len(daemons) - DAEMONS_SHOWN, 0)
        return self._site.plain(
            asked, "status.html", status=status, worst=worst, daemons=daemons[:DAEMONS_SHOWN], more=more
        )

    async def _status(self) -> PublicStatus:
        """As it was lately; all who look while it is read wait for that read."""
        return await asyncio.shield(self._lately.task())  # one who goes away stops it for nobody

    async def _read(self) -> PublicStatus:
        api = self._site.api
        api.limit.take(LINE)
        return await api.hub.view(lambda view: public_status(view, with_names=self._with_names), LINE)
