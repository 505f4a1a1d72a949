"""Fakes of the outside world on loopback: a Discord webhook and a Claude Messages API. They keep what they received."""

from __future__ import annotations

import itertools
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

from understudy.clock import SystemClock

BODY_BYTES_MAX = 1 << 20
TIMEOUT_S = 10
OK, NOT_FOUND = 200, 404


class Received(NamedTuple):
    """One request; `at_ms` is monotonic."""

    at_ms: int
    method: str
    path: str
    body: Any


class Double:
    """A server on a free port of loopback; subclasses answer."""

    def __init__(self) -> None:
        double = self

        class Handler(BaseHTTPRequestHandler):
            timeout = TIMEOUT_S

            def do_POST(self) -> None:
                size = min(int(self.headers.get("content-length") or 0), BODY_BYTES_MAX)
                status, body = double.take(self.command, self.path, self.rfile.read(size))
                raw = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(raw)))
                self.end_headers()
                self.wfile.write(raw)

            do_PATCH = do_POST  # noqa: N815 - likewise

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self.received: list[Received] = []
        self._clock = SystemClock()
        self._numbers = itertools.count(1001)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def take(self, method: str, path: str, raw: bytes) -> tuple[int, Any]:
        """Remember a request → status and body of the answer."""
        try:
            body = json.loads(raw)
        except ValueError:
            body = None
        self.received.append(Received(self._clock.mono_ms(), method, path.partition("?")[0], body))
        return self.answer(self.received[-1])

    def answer(self, request: Received) -> tuple[int, Any]:
        """Status and body."""
        raise NotImplementedError

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()


class Discord(Double):
    """A webhook that posts messages and changes them."""

    PATH = "/api/webhooks/1001/drill-drill-drill-drill"

    @property
    def webhook(self) -> str:
        """The address that the hub is given."""
        return self.url + self.PATH

    def __init__(self) -> None:
        super().__init__()
        self.messages: dict[str, list[str]] = {}  # by id, each with all that it ever said

    def answer(self, request: Received) -> tuple[int, Any]:
        """As Discord does with `?wait=true`."""
        if not request.path.startswith(self.PATH):
            return NOT_FOUND, {"code": 10015, "message": "Unknown Webhook"}
        number = request.path.rpartition("/")[2] if request.method == "PATCH" else str(next(self._numbers))
        self.messages.setdefault(number, []).append(words_of(request.body))
        return OK, {"id": number}

    def said(self, *words: str) -> list[str]:
        """Those messages that said all these words at once, as they were then."""
        found = (
            [text for text in said if all(word in text for word in words)] for said in tuple(self.messages.values())
        )
        return [texts[0] for texts in found if texts]


def words_of(body: Any) -> str:
    """All words of a Discord message: content, then embeds with their fields."""
    if not isinstance(body, dict):
        return ""
    pieces = [str(body.get("content") or "")]
    for embed in body.get("embeds") or ():
        pieces += [str(embed.get("title") or ""), str(embed.get("description") or "")]
        pieces += [f"{field.get('name')}: {field.get('value')}" for field in embed.get("fields") or ()]
    return "\n".join(piece for piece in pieces if piece)


class Claude(Double):
    """A Messages API that answers every question with the same words; nothing pretends to be a model."""

    REPLY = "This is the drill's stand-in for the Claude API."
    KEY = "drill"

    @property
    def questions(self) -> list[str]:
        """The questions it received, in order."""
        bodies = [request.body for request in tuple(self.received) if isinstance(request.body, dict)]
        return [_words(body["messages"][-1].get("content")) for body in bodies if body.get("messages")]

    def answer(self, request: Received) -> tuple[int, Any]:
        """As the Messages API does, not streamed."""
        if request.path != "/v1/messages" or not isinstance(request.body, dict):
            return NOT_FOUND, {"type": "error", "error": {"type": "not_found_error", "message": request.path}}
        return OK, {
            "id": f"msg_{next(self._numbers)}",
            "type": "message",
            "role": "assistant",
            "model": request.body.get("model"),
            "content": [{"type": "text", "text": self.REPLY}],
            "stop_reason": "end_turn",
            "stop_sequence": None,
            "usage": {"input_tokens": 20, "output_tokens": 12},
        }


def _words(content: Any) -> str:
    if isinstance(content, str):
        return content
    return "".join(str(block.get("text", "")) for block in content or () if isinstance(block, dict))
