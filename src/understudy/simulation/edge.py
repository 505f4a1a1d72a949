"""A synchronous caller of the real endpoint table: wire in, operation, wire out, without sockets."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import msgspec

from understudy.api.app import ENDPOINTS
from understudy.api.endpoint import Endpoint, Request
from understudy.clock import Clock
from understudy.errors import ForbiddenError, NotFoundError, UnderstudyError
from understudy.hub.keys import SCOPES, Caller
from understudy.hub.operation import Operation
from understudy.hub.views import View
from understudy.ids import IdMaker

_PARAMETER = re.compile(r"\{(\w{1,40})(?::path)?\}")
Shown = Callable[[View], Any]


class Letter(msgspec.Struct, frozen=True, eq=False):
    """One request on its way: `body` is what was meant, `raw` is what the hub reads."""

    sender: str
    method: str
    path: str
    body: dict[str, Any]
    raw: bytes


class Reply(msgspec.Struct, frozen=True):
    """What goes back over the wire: status, JSON object, and the bytes of it."""

    status: int
    body: dict[str, Any]
    raw: bytes = b"{}"


class Matched(msgspec.Struct, frozen=True):
    """A request that found its endpoint: an operation to decide, or a view to show."""

    endpoint: Endpoint
    operation: Operation | None = None
    show: Shown | None = None


class Edge:
    """Everything that `api` does before and after the batch, in the same order."""

    def __init__(self, clock: Clock, ids: IdMaker) -> None:
        self._clock = clock
        self._ids = ids
        self._straight: dict[tuple[str, str], Endpoint] = {
            (e.method, e.path): e for e in ENDPOINTS if "{" not in e.path
        }
        self._patterns = [
            (e.method, re.compile(_PARAMETER.sub(r"(?P<\1>[^/]+)", e.path)), e) for e in ENDPOINTS if "{" in e.path
        ]

    def matched(self, key_id: str, method: str, path: str, body: bytes) -> Matched:
        """The request as an operation or a view; an UnderstudyError is its answer already."""
        path, _, query = path.partition("?")
        endpoint, parameters = self._find(method, path)
        caller = Caller(key_id, SCOPES)
        if not caller.may(*endpoint.scopes):
            raise ForbiddenError(code="scope")
        asked = dict(part.split("=", 1) for part in query.split("&") if part)
        request = Request(caller, parameters, asked, body, self._clock.now_ms(), self._ids)
        if endpoint.make is not None:
            return Matched(endpoint, endpoint.make(request))
        show = endpoint.show
        assert show is not None
        return Matched(endpoint, show=lambda view: show(request, view))

    def _find(self, method: str, path: str) -> tuple[Endpoint, dict[str, str]]:
        endpoint = self._straight.get((method, path))
        if endpoint is not None:
            return endpoint, {}
        for of_method, pattern, found in self._patterns:
            match = pattern.fullmatch(path) if of_method == method else None
            if match:
                return found, match.groupdict()
        raise NotFoundError

    @staticmethod
    def reply(endpoint: Endpoint | None, answer: Any) -> Reply:
        """An answer or refusal as it goes over the wire; anything else that was raised is raised on."""
        if isinstance(answer, UnderstudyError):
            return _over_the_wire(answer.status, {"error": answer.message, **answer.fields})
        if isinstance(answer, BaseException):
            raise answer
        assert endpoint is not None
        shown = endpoint.shown(answer)
        return _over_the_wire(endpoint.status_of(shown), shown)


def _over_the_wire(status: int, body: Any) -> Reply:
    raw = msgspec.json.encode(body)
    return Reply(status, msgspec.json.decode(raw), raw)
