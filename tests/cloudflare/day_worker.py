"""A Worker for the costs of a day: `/day/FROM/SECONDS` lets so much of it pass, and says what was counted."""

from __future__ import annotations

import json
from typing import Any

from workers import DurableObject, Response, WorkerEntrypoint


class TaskCoordinator(DurableObject):  # type: ignore[misc]
    """The object."""

    def __init__(self, ctx: Any, env: Any) -> None:
        self._storage = ctx._ctx.storage

    async def fetch(self, request: Any) -> Any:
        from tests.cloudflare.day import Day  # not at the start, as the hub's own entry

        from_s, seconds = map(int, request.url.rsplit("/", 2)[1:])
        day = Day(self._storage, from_s)
        await day.pass_(seconds)
        return Response(
            json.dumps({"requests": day.requests, "rows": {**day.rows, "settings of the alarm": day.bells}})
        )


class Default(WorkerEntrypoint):  # type: ignore[misc]
    """Passes the days on."""

    async def fetch(self, request: Any) -> Any:
        if "/day/" not in request.url:
            return Response("well")
        objects = self.env.TASK_COORDINATOR
        return await objects.get(objects.idFromName("hub")).fetch(request.js_object)
