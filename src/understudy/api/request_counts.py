"""Answers by method, route and status: a route is its template, never the path that somebody asked for."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

Answered = defaultdict[int, int]  # how many answers there were, by status
FAILURES = (500, 503)  # counted from 0 on: a first one must be seen as a rise
OTHER = "other"  # unknown paths and methods


class RequestCounts:
    """Plain integers, added to on the event loop."""

    def __init__(self) -> None:
        self._answered: dict[tuple[str, str], Answered] = {}
        self.unknown = self.of(OTHER, OTHER)

    def of(self, method: str, route: str) -> Answered:
        """The counts of one route, to be added to."""
        key = (method, route.replace(":path", ""))
        return self._answered.setdefault(key, defaultdict(int, dict.fromkeys(FAILURES, 0)))

    def copy(self) -> dict[tuple[str, str, int], int]:
        """The answers by method, route and status until now."""
        found = self._answered.items()
        return {(*key, status): count for key, answered in found for status, count in answered.items()}


def counted_send(answered: Answered, send: Any) -> Any:
    """`send`, for one request whose status is known only to somebody further in."""

    async def sent(message: Any) -> None:
        if message["type"] == "http.response.start":
            answered[message["status"]] += 1
        await send(message)

    return sent
