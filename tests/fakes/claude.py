"""A Claude Messages API on loopback: judges every request body, answers plain or streamed, fails in every known way.

Words for `plan`, each as the real API words it: the statuses 400, 401, 402, 403, 404, 413, 429, 500, 503, 504, 529;
`credit` (400), `spend_limit` (429 without retry-after), `overloaded_stream` (200, then an error event inside the
stream), `cut_stream` (the stream ends without `message_stop`), `refusal`, `max_tokens`, and the manners of every fake.
Asked not to stream, `overloaded_stream` is a 529 and `cut_stream` a body cut in half.

    with FakeClaude() as api:
        api.reply = lambda body: "four"            # default: an echo of the last question
        ...  ANTHROPIC_BASE_URL=api.url, ANTHROPIC_API_KEY=api.key
        assert api.questions == ["2 + 2?"] and api.problems == []
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from typing import Any

from tests.fakes.server import MANNERS, Answer, FakeServer, Received, Step, Wrong, retry_after

MODELS = ("claude-opus-5-5", "claude-sonnet-5-5", "claude-haiku-5-5")
BODY_KEYS = {"model", "max_tokens", "messages", "system", "stream", "temperature", "stop_sequences", "metadata"}
ERROR_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    500: "api_error",
    503: "api_error",
    504: "timeout_error",
    529: "overloaded_error",
}
MESSAGES = {
    400: "messages: something is wrong with this request",
    401: "invalid x-api-key",
    402: "Your organization has a billing issue",
    403: "Your API key does not have permission to use the specified resource",
    404: "model: no such model",
    413: "Request exceeds the maximum size",
    429: "This request would exceed your organization's rate limit",
    529: "Overloaded",
}
# status, error type, message and details by word
WORDS: dict[str, tuple[int, str, dict[str, str] | None]] = {
    "credit": (400, "Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing.", None),
    "spend_limit": (429, "You have reached your spend limit.", {"error_code": "enforced_spend_limit_reached"}),
}


class FakeClaude(FakeServer):
    """`usage` (input, output) overrides the counted tokens; a `reply` may block, to hold an answer back."""

    def __init__(self, key: str = "sk-ant-api03-fake-key-for-tests", models: tuple[str, ...] = MODELS) -> None:
        super().__init__()
        self.key = key
        self.models = models
        self.reply: Callable[[dict[str, Any]], str] = lambda body: f"Answer to: {last_question(body)}"
        self.usage: tuple[int, int] | None = None
        self._ids = itertools.count(1)

    @property
    def bodies(self) -> list[dict[str, Any]]:
        """Bodies of all message requests, in order of arrival."""
        return [request.json for request in self.received if request.path == "/v1/messages"]

    @property
    def questions(self) -> list[str]:
        """The last user text of each message request."""
        return [last_question(body) for body in self.bodies]

    def is_success(self, step: Step) -> bool:
        streamed = {"overloaded_stream", "cut_stream", "refusal", "max_tokens"}
        return step.status < 400 and step.word in {"", *MANNERS, *streamed}

    def answer(self, request: Received) -> Answer:
        if request.path.startswith("/v1/models"):
            return self._model(request.path.removeprefix("/v1/models").strip("/"))
        body = request.json
        if request.path == "/v1/messages/count_tokens":
            return self._answer(200, {"input_tokens": tokens(body)})
        if body.get("stream"):
            return self._stream(body, request.step)
        if request.step.word == "overloaded_stream":
            return self.refusal(Step(529))
        answer = self._answer(200, self._message(body, request.step))
        return (
            Answer(200, answer.raw[: len(answer.raw) // 2], answer.headers)
            if request.step.word == "cut_stream"
            else answer
        )

    def judge(self, request: Received) -> None:
        given = request.headers.get("x-api-key") or request.headers.get("authorization", "").removeprefix("Bearer ")
        if given != self.key:
            raise Wrong("wrong or no key", self.refusal(Step(401)))
        if "anthropic-version" not in request.headers:
            raise self._wrong("anthropic-version: header is required")
        if request.path.startswith("/v1/models") and request.method == "GET":
            return
        if request.method != "POST" or request.path not in {"/v1/messages", "/v1/messages/count_tokens"}:
            raise Wrong("no such endpoint", self.refusal(Step(404)))
        if request.headers.get("content-type", "").split(";")[0] != "application/json":
            raise self._wrong("content-type must be application/json")
        try:
            body = request.json
        except ValueError:
            raise self._wrong("the body is no JSON") from None
        self._judge_body(body, counting=request.path.endswith("count_tokens"))

    def _judge_body(self, body: Any, *, counting: bool) -> None:
        for problem in problems_of(body, counting=counting):
            raise self._wrong(problem)
        if body["model"] not in self.models:
            raise Wrong("unknown model", self._error(404, f"model: {body['model']}"))

    def refusal(self, step: Step) -> Answer:
        status, message, details = WORDS.get(
            step.word, (step.status, MESSAGES.get(step.status, "Internal error"), None)
        )
        return self._error(status, message, details, retry_after(step))

    def _error(
        self, status: int, message: str, details: dict[str, str] | None = None, headers: dict[str, str] | None = None
    ) -> Answer:
        error = {"type": ERROR_TYPES.get(status, "api_error"), "message": message}
        body = {"type": "error", "error": error | ({"details": details} if details else {})}
        return self._answer(status, body, headers)

    def _answer(self, status: int, body: dict[str, Any], headers: dict[str, str] | None = None) -> Answer:
        named = {"request-id": f"req_{next(self._ids):06}", "content-type": "application/json"}
        return Answer(status, body, named | (headers or {}))

    def _wrong(self, problem: str) -> Wrong:
        return Wrong(problem, self._error(400, problem))

    def _model(self, name: str) -> Answer:
        rows = [{"type": "model", "id": model, "display_name": model} for model in self.models if name in {"", model}]
        if not name:
            return self._answer(200, {"data": rows, "has_more": False})
        return self._answer(200, rows[0]) if rows else self._error(404, f"model: {name}")

    def _message(self, body: dict[str, Any], step: Step) -> dict[str, Any]:
        text = "" if step.word == "refusal" else self.reply(body)
        stop = step.word if step.word in {"refusal", "max_tokens"} else "end_turn"
        used = self.usage or (tokens(body), body["max_tokens"] if stop == "max_tokens" else max(1, len(text) // 4))
        return {
            "id": f"msg_{next(self._ids):06}",
            "type": "message",
            "role": "assistant",
            "model": body["model"],
            "content": [{"type": "text", "text": text}] if text else [],
            "stop_reason": stop,
            "stop_sequence": None,
            "usage": {
                "input_tokens": used[0],
                "output_tokens": min(used[1], body["max_tokens"]) if not self.usage else used[1],
                "cache_creation_input_tokens": 0,
                "cache_read_input_tokens": 0,
            },
        }

    def _stream(self, body: dict[str, Any], step: Step) -> Answer:
        message = self._message(body, step)
        text = message["content"][0]["text"] if message["content"] else ""
        usage = message["usage"]
        start = message | {"content": [], "stop_reason": None, "usage": usage | {"output_tokens": 1}}
        pieces = [text[at : at + 20] for at in range(0, len(text), 20)]
        events: list[dict[str, Any]] = [
            {"type": "message_start", "message": start},
            {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
            {"type": "ping"},
            *(
                {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": piece}}
                for piece in pieces
            ),
        ]
        if step.word == "overloaded_stream":
            events.append({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}})
        elif step.word != "cut_stream":
            delta = {"stop_reason": message["stop_reason"], "stop_sequence": None}
            events += [
                {"type": "content_block_stop", "index": 0},
                {"type": "message_delta", "delta": delta, "usage": {"output_tokens": usage["output_tokens"]}},
                {"type": "message_stop"},
            ]
        raw = "".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events).encode()
        return Answer(200, raw, {"content-type": "text/event-stream; charset=utf-8", "request-id": message["id"]})


def problems_of(body: Any, *, counting: bool = False) -> list[str]:
    """What the real API would refuse, and what we never send (`tools`)."""
    if not isinstance(body, dict):
        return ["the body is no object"]
    found = [f"{name}: unexpected" for name in body.keys() - BODY_KEYS]
    if not isinstance(body.get("model"), str):
        found.append("model: Field required")
    limit = body.get("max_tokens")
    if not counting and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 1):
        found.append("max_tokens: must be a positive integer")
    if "system" in body and not isinstance(body["system"], (str, list)):
        found.append("system: must be text")
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        return [*found, "messages: at least one message is required"]
    for at, message in enumerate(messages):
        expected = "user" if at % 2 == 0 else "assistant"
        if not isinstance(message, dict) or message.get("role") != expected:
            found.append(f"messages.{at}: roles must alternate, beginning with user")
        elif not text_of(message.get("content")).strip():
            found.append(f"messages.{at}: text content blocks must be non-empty")
    if not found and messages[-1]["role"] != "user":
        found.append("messages: the last one must be the user's")
    return found


def text_of(content: Any) -> str:
    """The text of a message's content, which is text or a list of text blocks."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    return "".join(
        str(block.get("text", "")) for block in content if isinstance(block, dict) and block.get("type") == "text"
    )


def last_question(body: dict[str, Any]) -> str:
    """The text of the last message."""
    return text_of(body["messages"][-1].get("content"))


def tokens(body: dict[str, Any]) -> int:
    """A count that only grows with the text: a token for every four characters."""
    text = text_of(body.get("system", "")) + "".join(text_of(message.get("content")) for message in body["messages"])
    return 1 + len(text) // 4
