"""Reads the output of `claude -p --output-format stream-json` while it works."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from understudy.coordinator.prices import Price, Tokens
from understudy.worker.executors import Start
from understudy.worker.executors.assistant import AssistantReading
from understudy.worker.executors.events import list_in, number_in, text_in, value_in
from understudy.worker.executors.usage import usage_json

MESSAGES_MAX = 100  # whose use is kept apart: a message is repeated before many others come
_REPORTED_BY = ("command", "file_path", "path", "pattern", "url", "query", "description", "prompt")


class ClaudeReading(AssistantReading):
    """Keeps the session, the last words, what was done, and the result line."""

    executor = "claude_code"

    def __init__(self, start: Start, prices: Mapping[str, Price]) -> None:
        super().__init__(start)
        self.result: dict[str, Any] | None = None
        self.model = ""
        self.retry: dict[str, Any] = {}  # the last try of the API that failed
        self._prices = prices
        self._used: dict[str, Tokens] = {}  # by message: each is reported several times in a row
        self._used_before = Tokens()  # of older messages

    def heed(self, event: dict[str, Any]) -> None:
        """One event; unknown ones are passed over."""
        self.works_in(text_in(event, "session_id"))
        match event.get("type"):
            case "system" if event.get("subtype") == "init":
                self.has_begun = True
                self.model = text_in(event, "model")
                self.note("thinking")
            case "system" if event.get("subtype") == "api_retry":
                self.retry = event
                self.note(f"API try {number_in(event, 'attempt')} failed ({number_in(event, 'error_status') or '–'})")
            case "assistant":
                self._heed_message(event)
            case "user":
                if any(text_in(part, "type") == "tool_result" for part in list_in(event, "message", "content")):
                    self.has_used_tool()
            case "result":
                self.result = event

    def _heed_message(self, event: dict[str, Any]) -> None:
        self.has_begun = True
        message = value_in(event, "message")
        used = value_in(message, "usage")
        if isinstance(used, dict):
            self._used[text_in(message, "id")] = tokens_of(used)
            if len(self._used) > MESSAGES_MAX:
                oldest = self._used.pop(next(iter(self._used)))
                self._used_before = _sum((self._used_before, oldest))
        for part in list_in(message, "content"):
            if text_in(part, "type") == "text":
                self.text = text_in(part, "text") or self.text
            elif text_in(part, "type") == "tool_use":
                self.tool(text_in(part, "name"), input_shown(value_in(part, "input")))

    def counters(self) -> dict[str, int]:
        """None: its `usage` is of one run, and its `total_cost_usd` is not to be trusted (docs/measured.md)."""
        return {}

    def usage(self) -> dict[str, Any] | None:
        """Of the result line, else the sum over the messages."""
        counted = value_in(self.result, "usage")
        used = tokens_of(counted) if isinstance(counted, dict) else _sum((self._used_before, *self._used.values()))
        return usage_json(self._model(), used, self._prices)

    def _model(self) -> str:
        """The one that did most of the work, where several did."""
        by_model = value_in(self.result, "modelUsage")
        if self.model or not isinstance(by_model, dict) or not by_model:
            return self.model
        return str(max(by_model, key=lambda name: number_in(by_model[name], "outputTokens")))


def tokens_of(used: dict[str, Any]) -> Tokens:
    """Anthropic's names; its input tokens leave the cached ones out."""
    return Tokens(
        number_in(used, "input_tokens"),
        number_in(used, "output_tokens"),
        number_in(used, "cache_read_input_tokens"),
        number_in(used, "cache_creation_input_tokens"),
    )


def input_shown(given: Any) -> str:
    """The one argument of a tool that tells most."""
    return next((text for name in _REPORTED_BY if (text := text_in(given, name))), "")


def _sum(parts: Any) -> Tokens:
    total = Tokens()
    for part in parts:
        total = Tokens(
            total.input + part.input,
            total.output + part.output,
            total.cache_read + part.cache_read,
            total.cache_write + part.cache_write,
        )
    return total
