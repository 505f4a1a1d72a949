"""A Worker for the tests: its object runs the SQL that it is sent and says what came of it."""

from __future__ import annotations

import json
from typing import Any

from workers import DurableObject, Response, WorkerEntrypoint


class TaskCoordinator(DurableObject):  # type: ignore[misc]
    """Storage that can be asked anything."""

    def __init__(self, ctx: Any, env: Any) -> None:
        self.storage = ctx._ctx.storage

    async def fetch(self, request: Any) -> Any:
        asked = json.loads(await request.text())
        try:
            rows = self.storage.sql.exec(asked["sql"], *asked["values"]).raw().toArray().to_py()
        except Exception as error:  # noqa: BLE001 - what the place refuses is the answer
            return Response(json.dumps({"error": str(error)}))
        return Response(json.dumps({"rows": [[_shown(value) for value in row] for row in rows]}))


def _shown(value: Any) -> Any:
    return value if isinstance(value, int | float | str) else type(value).__name__


class Default(WorkerEntrypoint):  # type: ignore[misc]
    """Passes everything to the object."""

    async def fetch(self, request: Any) -> Any:
        if request.url.endswith("/health"):
            return Response("well")
        objects = self.env.TASK_COORDINATOR
        return await objects.get(objects.idFromName("hub")).fetch(request.js_object)
