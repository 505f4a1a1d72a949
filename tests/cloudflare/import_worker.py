"""A Worker for bench/worker_start.py: it imports the hub when it is asked to, and says what came."""

from __future__ import annotations

import importlib
import json
import sys
from typing import Any

from workers import Response, WorkerEntrypoint


class Default(WorkerEntrypoint):  # type: ignore[misc]
    """`/import/MODULE` imports a module."""

    async def fetch(self, request: Any) -> Any:
        before = set(sys.modules)
        _, found, name = request.url.partition("/import/")
        if found:
            importlib.import_module(name)
        return Response(json.dumps({"modules": len(set(sys.modules) - before)}))
