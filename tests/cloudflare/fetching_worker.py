"""A Worker for the tests: it sends the request that it is told of, and says what came of it."""

from __future__ import annotations

import json
from typing import Any

from workers import Response, WorkerEntrypoint


class Default(WorkerEntrypoint):  # type: ignore[misc]
    """Sends as the hub does."""

    async def fetch(self, request: Any) -> Any:
        if request.url.endswith("/health"):
            return Response("well")
        from msgspec import to_builtins

        from understudy.cloudflare.fetching import answer_of
        from understudy.cloudflare.javascript import _fetch
        from understudy.wire.outbound import HttpRequest

        method, url, headers, body = json.loads(await request.text())
        pairs = tuple((name, value) for name, value in headers.items())
        answer = await answer_of(HttpRequest(method, url, pairs, body.encode()), _fetch, "understudy/1")
        return Response(json.dumps(to_builtins(answer), default=str))
