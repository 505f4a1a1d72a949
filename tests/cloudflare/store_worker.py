"""A Worker for the tests: the store's exercises inside a real Durable Object."""

from __future__ import annotations

import json
from typing import Any

import pytest  # tests/cloudflare/pytest_there.py, under the name that the exercises know
from pyodide.ffi import to_js
from workers import DurableObject, Response, WorkerEntrypoint


class TaskCoordinator(DurableObject):  # type: ignore[misc]
    """Runs the exercises on its own storage, which is emptied before each test."""

    def __init__(self, ctx: Any, env: Any) -> None:
        self.storage = ctx._ctx.storage

    async def fetch(self, request: Any) -> Any:
        from tests.store.conformance import StoreConformance
        from tests.store.paging import PagingExercise
        from tests.store.searches import SearchExercise
        from tests.store.sums import SumsExercise

        found: dict[str, str] = {}
        count = 0
        for exercise in (StoreConformance, PagingExercise, SearchExercise, SumsExercise):
            failed = pytest.run(  # type: ignore[attr-defined]
                exercise, self.empty_store
            )
            count += int(failed.pop(""))
            found |= failed
        return Response(json.dumps({"count": count, "failed": found}))

    def empty_store(self) -> Any:
        from understudy.store.durable import DurableStore

        sql = self.storage.sql
        tables = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
        for (name,) in sql.exec(f"{tables} AND name NOT LIKE '_cf_%'").raw().toArray().to_py():
            sql.exec(f"DROP TABLE {name}")
        return DurableStore(self.storage, to_js)


class Default(WorkerEntrypoint):  # type: ignore[misc]
    """Passes everything to the object."""

    async def fetch(self, request: Any) -> Any:
        if request.url.endswith("/health"):
            return Response("well")
        objects = self.env.TASK_COORDINATOR
        return await objects.get(objects.idFromName("hub")).fetch(request.js_object)
