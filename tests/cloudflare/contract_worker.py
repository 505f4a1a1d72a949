"""A Worker for the tests: the hub as its owner has it, and one address more that begins it anew on an empty storage."""

from __future__ import annotations

from typing import Any

import js

from understudy.cloudflare import entry
from understudy.config import worker_inputs

Default = entry.Default
RESET = "/test/reset"
worker_inputs.is_easy_to_guess = lambda _: False  # type: ignore[attr-defined] # the keys of the contract's tests are


class TaskCoordinator(entry.TaskCoordinator):
    """The hub; `POST /test/reset` makes it another one."""

    async def fetch(self, request: Any) -> Any:
        request = getattr(request, "js_object", request)
        if not request.url.endswith(RESET):
            return await super().fetch(request)
        if self._place is not None and self._place._hub._hub is not None:
            await self._place._hub._hub.stop()
        self._empty(self._raw[0].storage.sql)
        self._place = None
        return js.Response.new("well")

    def _empty(self, sql: Any) -> None:
        """Every table without its rows; those of the schema stay."""
        tables = "SELECT name FROM sqlite_schema WHERE type = 'table' AND sql NOT LIKE 'CREATE VIRTUAL%'"
        for (name,) in sql.exec(f"{tables} AND name NOT LIKE '_cf_%'").raw().toArray().to_py():
            if name != "understudy_schema":
                sql.exec(f"DELETE FROM {name}")


__all__ = ["Default", "TaskCoordinator"]
