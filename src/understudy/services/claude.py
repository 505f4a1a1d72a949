"""The Claude Messages API: a prompt becomes one request, an answer one verdict; nothing is sent here.

The request has no tools. It is not streamed, but a streamed answer (some gateways give one) is read all the same.
What each error means is the table of docs/takeover.md.
"""

from __future__ import annotations

from http import HTTPStatus
from io import BytesIO
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from understudy.coordinator.prices import Tokens
from understudy.coordinator.prompts import Prompt
from understudy.coordinator.takeover import CallOutcome
from understudy.wire.foreign_json import object_of
from understudy.wire.limits import INT_MAX
from understudy.wire.outbound import HttpAnswer, HttpRequest, NoAnswer
from understudy.wire.retry_after import retry_after_ms

BASE_URL = "https://api.anthropic.com"
VERSION = "2023-06-01"
OVERLOADED = 529  # docs/measured.md, claude
SAID_CHARS_MAX = 300
WAIT_MS_MAX = 3_600_000  # a day is too long to leave tasks unanswered for one service's word
ANSWER_CHARS_MAX = 200_000
# by status: (kind, reason) of errors that mean the same whatever their words
_BY_STATUS = {
    HTTPStatus.UNAUTHORIZED: ("stop", "authentication"),
    HTTPStatus.PAYMENT_REQUIRED: ("stop", "credit"),
    HTTPStatus.FORBIDDEN: ("stop", "permission"),
    HTTPStatus.NOT_FOUND: ("stop", "model"),
    HTTPStatus.REQUEST_TIMEOUT: ("again", "server"),
    HTTPStatus.CONFLICT: ("again", "server"),
    HTTPStatus.TOO_EARLY: ("again", "server"),
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: ("failed", "too_large"),
    HTTPStatus.TOO_MANY_REQUESTS: ("again", "rate_limited"),
    OVERLOADED: ("again", "overloaded"),
}
_BY_TYPE = {
    "authentication_error": ("stop", "authentication"),
    "billing_error": ("stop", "credit"),
    "permission_error": ("stop", "permission"),
    "not_found_error": ("stop", "model"),
    "request_too_large": ("failed", "too_large"),
    "rate_limit_error": ("again", "rate_limited"),
    "overloaded_error": ("again", "overloaded"),
    "api_error": ("again", "server"),
    "timeout_error": ("again", "server"),
}
# a 400 has one type for many things, of the account or of this one request: (words in its message, kind, reason)
_BY_WORDS = (
    ("credit balance", "stop", "credit"),
    ("usage limits", "stop", "spend_limit"),
    ("spend limit", "stop", "spend_limit"),
    ("prompt is too long", "failed", "too_large"),
    ("exceed context limit", "failed", "too_large"),
    ("content filter", "failed", "refused"),  # the answer was written, and is withheld
)
_OF_A_REQUEST = frozenset({HTTPStatus.BAD_REQUEST, HTTPStatus.UNPROCESSABLE_ENTITY})
_TRUNCATED = frozenset({"max_tokens", "model_context_window_exceeded"})
_COMPLETE = frozenset({"end_turn", "stop_sequence"})


class ClaudeApi(Struct, frozen=True):
    """Access to the service; `key` is never logged."""

    key: str
    base_url: str = BASE_URL

    def request_for(self, prompt: Prompt, timeout_ms: int) -> HttpRequest:
        """One call of the Messages API."""
        body = {
            "model": prompt.model,
            "max_tokens": prompt.answer_tokens_max,
            "system": prompt.system,
            "messages": prompt.messages,
        }
        headers = (
            ("content-type", "application/json"),
            ("anthropic-version", VERSION),
            ("x-api-key", self.key),
        )
        url = f"{self.base_url.rstrip('/')}/v1/messages"
        return HttpRequest("POST", url, headers, msgspec.json.encode(body), timeout_ms)

    @staticmethod
    def outcome_of(answer: HttpAnswer | NoAnswer) -> CallOutcome:
        """The meaning of an answer. If it is unknown whether it is billed, it counts as billed."""
        if isinstance(answer, NoAnswer) and answer.is_local:
            return CallOutcome("stop", "request", said=answer.reason[:SAID_CHARS_MAX])
        if isinstance(answer, NoAnswer):
            billed = "unknown" if answer.was_sent else "nothing"
            return CallOutcome("again", "no_answer", said=answer.reason[:SAID_CHARS_MAX], billed=billed)
        if not HTTPStatus.OK <= answer.status < HTTPStatus.MULTIPLE_CHOICES:
            return _refused(answer)
        if "event-stream" in answer.headers.get("content-type", "").lower():
            return _read(_gathered(answer.body))
        return _read(object_of(answer.body) or {})


def _refused(answer: HttpAnswer) -> CallOutcome:
    """An error status; it is not billed, unless an answer was written before it."""
    body = object_of(answer.body) or {}
    error = body.get("error")
    error = error if isinstance(error, dict) else {}
    said = str(error.get("message", ""))[:SAID_CHARS_MAX]
    details = error.get("details")
    if isinstance(details, dict) and details.get("error_code") == "enforced_spend_limit_reached":
        return CallOutcome("stop", "spend_limit", said=said)
    if answer.status == HTTPStatus.BAD_REQUEST and (judged := _judged_by_words(said)):
        kind, reason = judged
        return CallOutcome(kind, reason, said=said, billed="unknown" if reason == "refused" else "nothing")
    if answer.status in _BY_STATUS:
        kind, reason = _BY_STATUS[answer.status]
        return CallOutcome(kind, reason, said=said, wait_ms=_wait_ms(answer))
    if answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return CallOutcome("again", "server", said=said, wait_ms=_wait_ms(answer))
    is_suspect = answer.status in _OF_A_REQUEST
    return CallOutcome("stop", "request", said=said or f"HTTP {answer.status}", is_suspect=is_suspect)


def _judged_by_words(said: str) -> tuple[str, str] | None:
    """The kind and reason of an invalid request; None if its words are not known."""
    return next(((kind, reason) for words, kind, reason in _BY_WORDS if words in said.lower()), None)


def _wait_ms(answer: HttpAnswer) -> int:
    return min(retry_after_ms(answer), WAIT_MS_MAX)


def _read(message: dict[str, Any]) -> CallOutcome:
    """A message as it came with success: an error in it, cut short, refused, or an answer."""
    error = message.get("error")
    if isinstance(error, dict):
        said = str(error.get("message", ""))[:SAID_CHARS_MAX]
        kind, reason = _BY_TYPE.get(str(error.get("type"))) or _judged_by_words(said) or ("again", "server")
        return CallOutcome(kind, reason, said=said, billed="unknown")
    stop = str(message.get("stop_reason"))[:SAID_CHARS_MAX]
    text = _text(message.get("content"))
    if not (stop == "refusal" or stop in _COMPLETE | _TRUNCATED):
        return CallOutcome("again", "cut", said=f"stop_reason {stop}", billed="unknown")
    counted = _counted(message.get("usage"), text)
    if stop == "refusal":
        return replace(counted, kind="failed", reason="refused", said="The model refused to answer")
    if not text.strip():
        return replace(counted, kind="again", reason="empty", said=f"no text, stop_reason {stop}")
    is_cut = stop in _TRUNCATED or len(text) > ANSWER_CHARS_MAX
    return replace(counted, text=text[:ANSWER_CHARS_MAX], is_truncated=is_cut)


def _text(content: Any) -> str:
    """The text blocks; what the model thought is left out."""
    blocks = content if isinstance(content, list) else []
    texts = (block.get("text") for block in blocks if isinstance(block, dict) and block.get("type") == "text")
    return "".join(text for text in texts if isinstance(text, str))


def _counted(usage: Any, text: str) -> CallOutcome:
    """An answer at what it cost; a count that cannot be true, as some gateways give, is none."""
    tokens = _tokens(usage)
    if tokens is None or not tokens.input + tokens.cache_read + tokens.cache_write or (text and not tokens.output):
        return CallOutcome("answered", billed="unknown")
    return CallOutcome("answered", tokens=tokens, billed="tokens")


def _tokens(usage: Any) -> Tokens | None:
    """The tokens as the service counted them; None if it did not say."""
    if not isinstance(usage, dict):
        return None
    needed = [usage.get(name) for name in ("input_tokens", "output_tokens")]
    cached = [usage.get(name) or 0 for name in ("cache_read_input_tokens", "cache_creation_input_tokens")]
    counts = [count for count in (*needed, *cached) if type(count) is int and 0 <= count <= INT_MAX]
    return Tokens(*counts) if len(counts) == len(needed) + len(cached) else None


def _gathered(raw: bytes) -> dict[str, Any]:
    """A stream put together; without its last event it has no stop reason, and so counts as cut."""
    message: dict[str, Any] = {}
    texts: list[str] = []
    is_complete = False
    for line in BytesIO(raw):  # one by one: a stream may consist of millions of them
        event = (object_of(line[5:]) or {}) if line.startswith(b"data:") else {}
        kind, delta = event.get("type"), _object_in(event, "delta")
        if kind == "error":
            return {"error": _object_in(event, "error")}
        if kind == "message_start":
            message = dict(_object_in(event, "message"))
            message["usage"] = _object_in(message, "usage") | {"output_tokens": None}  # so far; the end says how many
        elif kind == "content_block_start":
            texts.append(_text([_object_in(event, "content_block")]))
        elif kind == "content_block_delta":
            texts.append(text if isinstance(text := delta.get("text"), str) else "")
        elif kind == "message_delta":
            message |= {"usage": _object_in(message, "usage") | _given(_object_in(event, "usage"))}
            message |= _given({"stop_reason": delta.get("stop_reason")})  # a later one may only count
        is_complete = is_complete or kind == "message_stop"
    message["content"] = [{"type": "text", "text": "".join(texts)}]
    return message if is_complete else message | {"stop_reason": None}


def _given(values: dict[str, Any]) -> dict[str, Any]:
    """Those that are not null."""
    return {name: value for name, value in values.items() if value is not None}


def _object_in(event: dict[str, Any], name: str) -> dict[str, Any]:
    """The object of that name; an empty one if there is none."""
    found = event.get(name)
    return found if isinstance(found, dict) else {}
