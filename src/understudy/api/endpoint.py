"""One row of the contract as a value: routes, OpenAPI and tests are all made from the same table.

The rows, with the scopes of each, stand in the modules of their nouns: tasks, daemons (incidents too), notices,
takeover, records (all others).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from msgspec import Struct, field

from understudy.errors import BadRequestError
from understudy.hub.keys import Caller
from understudy.hub.operation import Operation
from understudy.hub.views import View
from understudy.ids import IdMaker
from understudy.redact import Redactor
from understudy.wire.answers.base import Answer
from understudy.wire.decode import decode
from understudy.wire.limits import BODY_BYTES_MAX, is_id

Method = Literal["GET", "POST", "PUT", "DELETE"]


class Request(Struct):
    """A request as an endpoint sees it; `path` and `query` are decoded."""

    caller: Caller
    path: dict[str, str]
    query: dict[str, str]
    body: bytes
    now_ms: int
    ids: IdMaker
    idempotency_key: str = ""
    redactor: Redactor = field(default_factory=Redactor)

    def parsed(self, shape: type[Any]) -> Any:
        """The body as `shape`; BadRequestError names what is wrong."""
        return decode(self.body, shape)

    def parsed_if_any(self, shape: type[Any]) -> Any:
        """The same; no body is one that names nothing, for an endpoint without `needs_body`."""
        return self.parsed(shape) if self.body.strip() else shape()

    def number(self, name: str, low: int, high: int, default: int) -> int:
        """An integer of the query within its bounds; BadRequestError otherwise."""
        text = self.query.get(name, "")
        if not text:
            return default
        if text.isascii() and text.isdecimal() and len(text) <= 15 and low <= int(text) <= high:  # noqa: PLR2004
            return int(text)
        raise BadRequestError("Validation failed", (f"{name}: Expected an integer from {low} to {high}",))


class Endpoint(Struct, frozen=True):
    """A method and path, who may call it, and what it does: exactly one of `make` (writes) and `show` (reads)."""

    method: Method
    path: str
    summary: str
    scopes: tuple[str, ...]
    answer: tuple[type[Answer], ...]  # the shapes that it may have, for OpenAPI
    make: Callable[[Request], Operation] | None = None
    show: Callable[[Request, View], Any] | None = None
    shape: type[Any] | None = None  # of the body, for OpenAPI
    needs_body: bool = True  # False: it may be left out, for OpenAPI
    is_keyed: bool = False  # by a header Idempotency-Key
    status: Callable[[Any], int] | int = 200
    body_of: Callable[[Any], Any] | None = None  # from the operation's answer to that of the endpoint
    errors: tuple[int, ...] = ()
    body_max: int = BODY_BYTES_MAX
    is_limited: bool = True  # counts against the rate limit of its key
    query: tuple[tuple[str, dict[str, Any]], ...] = ()
    waits: bool = False  # a long poll
    follows: bool = False  # may be a stream
    searches: Callable[[Request], bool] | None = None  # whether a request may have to read everything

    def shown(self, answer: Any) -> Any:
        """The answer of an operation as it is sent."""
        return self.body_of(answer) if self.body_of is not None else answer

    def status_of(self, answer: Any) -> int:
        """The HTTP status of an answer."""
        return self.status if isinstance(self.status, int) else self.status(answer)


def task_id_of(request: Request) -> str:
    """The task id of the path; BadRequestError if it is malformed."""
    return id_of(request, "task_id", "taskId")


PATH_IDS = (
    ("task_id", "taskId"),
    ("key_id", "keyId"),
    ("session_id", "sessionId"),
    ("incident_id", "incidentId"),
    ("notice_id", "noticeId"),
)


def check_path(request: Request) -> None:
    """The ids of the path, looked at before the body is (docs/contract.md, section 1); BadRequestError."""
    for name, shown in PATH_IDS:
        if name in request.path:
            id_of(request, name, shown)


def id_of(request: Request, name: str, shown: str) -> str:
    """An id of the path; BadRequestError if it is malformed."""
    value = request.path[name]
    if not is_id(value):
        raise BadRequestError(
            f"Invalid {shown} format", (f"{shown}: Expected 1 to 128 of the characters A-Z a-z 0-9 . _ : -",)
        )
    return value


STRING = {"type": "string"}
