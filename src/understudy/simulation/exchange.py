"""One request to the hub and what goes back, as an ASGI server hands both over; without sockets."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec

from understudy.errors import UnderstudyError
from understudy.hub.claims import NothingYet

OK = 200


class Letter(msgspec.Struct, frozen=True, eq=False):
    """One request on its way: `body` is what was meant, `raw` is what the hub reads."""

    sender: str
    method: str
    path: str
    body: dict[str, Any]
    raw: bytes


class Reply(msgspec.Struct, frozen=True):
    """An answer over the wire: status, JSON object and its bytes."""

    status: int
    body: dict[str, Any]
    raw: bytes = b"{}"


Answer = Callable[[Reply | None], None]  # None: the connection broke


def reply_of(answer: Any) -> Reply:
    """An answer of the hub to itself, as it would go over the wire."""
    is_refused = isinstance(answer, UnderstudyError)
    raw = msgspec.json.encode({"error": answer.message, **answer.fields} if is_refused else answer)
    return Reply(answer.status if is_refused else OK, msgspec.json.decode(raw), raw)


class SimulatedExchange:
    """A request that the application is answering."""

    def __init__(self, letter: Letter, answer: Answer, key: str, said: Callable[[], None] = lambda: None) -> None:
        """`said` is called at the instant at which the application has said its answer."""
        self.letter = letter
        self.answer = answer
        self._said = said
        self.is_decided = False  # an operation of it was put before the engine
        self.decided: Any = None  # what was decided last
        self.is_unknown = False  # to the hub, because the outcome of its COMMIT was lost
        self.reply: Reply | None = None
        self.is_known = False  # to the oracle
        self._key = key
        self._status = 0
        self._is_read = False
        self._gone: asyncio.Future[None] | None = None
        self._is_gone = False

    def scope(self) -> dict[str, Any]:
        """A request as an ASGI server describes it."""
        path, _, query = self.letter.path.partition("?")
        return {
            "type": "http",
            "method": self.letter.method,
            "path": path,
            "root_path": "",
            "query_string": query.encode(),
            "headers": [(b"x-api-key", self._key.encode())],
            "client": ("10.0.0.1", 1),
        }

    async def receive(self) -> dict[str, Any]:
        """The body, whole; then, whenever that may be, that the client is gone."""
        if not self._is_read:
            self._is_read = True
            return {"type": "http.request", "body": self.letter.raw, "more_body": False}
        if not self._is_gone:
            self._gone = asyncio.get_running_loop().create_future()
            await self._gone
        return {"type": "http.disconnect"}

    async def send(self, message: dict[str, Any]) -> None:
        """Head, then body."""
        if message["type"] == "http.response.start":
            self._status = message["status"]
        else:
            raw = message["body"]
            self.reply = Reply(self._status, msgspec.json.decode(raw), raw)
            self._said()

    def unsent(self) -> Reply | None:
        """The decision for a client that is gone, of which no answer was made; None if there is none."""
        if self.decided is None or isinstance(self.decided, NothingYet | Exception):
            return None
        raw = msgspec.json.encode(self.decided)
        return Reply(200, msgspec.json.decode(raw), raw)

    def hang_up(self) -> None:
        """The client is gone, and the server sees it."""
        self._is_gone = True
        if self._gone is not None and not self._gone.done():
            self._gone.set_result(None)
