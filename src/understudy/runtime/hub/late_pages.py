"""The routed part of a hub, the pages among it, made when it is first asked for.

Programs ask for little more than the hot paths, and most hubs run without a viewer: what routes and pages import is a
third of a start and 3 MiB for good. A thread imports it, so that nobody else waits.
"""

from __future__ import annotations

import asyncio
from importlib import import_module
from typing import Any

from understudy.api.app import App
from understudy.api.context import Api
from understudy.api.respond import INTERNAL, respond
from understudy.config.shown import SettingShown
from understudy.config.table import Settings

PAGES = "understudy.dashboard.app"


class LatePages:
    """An ASGI application that becomes another one with the first request."""

    def __init__(self, api: Api, settings: Settings, shown: tuple[SettingShown, ...]) -> None:
        self._given = api, settings, shown
        self._app: App | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Pass it on."""
        if self._app is None:
            await self._import()
        if self._app is not None:
            await self._app(scope, receive, send)
        else:
            self._given[0].requests.unknown[500] += 1
            await respond(send, 500, INTERNAL)

    async def _import(self) -> None:
        """Import in a thread, make on the loop. What fails is tried again with the next request."""
        try:
            module = await asyncio.get_running_loop().run_in_executor(None, import_module, PAGES)
            self._app = self._app or module.routed_with_pages(*self._given)
        except Exception as trouble:  # noqa: BLE001 - files that an update has taken away must not look like our bug
            self._given[0].hub.log.emit("critical", "Pages", f"The pages cannot be loaded: {trouble!r}")
