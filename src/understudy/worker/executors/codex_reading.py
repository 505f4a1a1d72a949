"""Reads the output of `codex exec --json` while it works."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from understudy.coordinator.prices import Price, Tokens
from understudy.worker.executors import Start
from understudy.worker.executors.assistant import AssistantReading
from understudy.worker.executors.events import list_in, number_in, text_in, value_in
from understudy.worker.executors.usage import usage_json

DECLINED_MAX = 20  # that an error names; its text is cut to 1,000 characters
_COUNTED = ("input_tokens", "cached_input_tokens", "output_tokens", "reasoning_output_tokens")
_SILENT_ITEMS = ("agent_message", "reasoning", "error", "")  # what is no tool


class CodexReading(AssistantReading):
    """Keeps the thread, the last message, what was done, and how its turn ended."""

    executor = "codex"

    def __init__(self, start: Start, model: str, prices: Mapping[str, Price]) -> None:
        super().__init__(start)
        self.is_completed = False
        self.error = ""  # the last one; also used for "Reconnecting… 1/5"
        self.failure: str | None = None  # of the turn
        self.declined: list[str] = []
        self._model = model
        self._prices = prices
        self._before = start.session.counters if start.session is not None else {}
        self._counted: dict[str, int] = {}

    def heed(self, event: dict[str, Any]) -> None:
        """One event; unknown ones are passed over."""
        match event.get("type"):
            case "thread.started":
                self.has_begun, thread = True, text_in(event, "thread_id")
                self.works_in(thread)
                if self.start.session is None or thread != self.start.session.id:
                    self._before = {}  # another thread has counters of its own
                self.note("thinking")
            case "item.started" | "item.completed":
                self._heed_item(event.get("item"), is_over=event.get("type") == "item.completed")
            case "error":
                self.error = text_in(event, "message")
                self.note(self.error[:200])
            case "turn.completed":
                self.is_completed = True
                used = value_in(event, "usage")
                if isinstance(used, dict):
                    self._counted = {name: number_in(used, name) for name in _COUNTED}
            case "turn.failed":
                self.failure = text_in(event, "error", "message") or text_in(event, "error") or self.error

    def _heed_item(self, item: Any, *, is_over: bool) -> None:
        kind, what = text_in(item, "type"), _reported_by(item)
        if is_over and kind not in _SILENT_ITEMS:
            self.has_used_tool()
        if kind == "agent_message":
            self.has_begun = True
            self.text = text_in(item, "text") or self.text
        elif kind == "error":  # also warnings that hinder nothing
            self.note(text_in(item, "message")[:200])
        elif kind not in _SILENT_ITEMS and not is_over:
            self.tool(kind, what)
        elif kind not in _SILENT_ITEMS and (line := f"{kind}: {what}") not in self.did[-1:]:
            self.tool(kind, what) if kind == "file_change" else self.note(line[:200])
        if text_in(item, "status") == "declined" and len(self.declined) < DECLINED_MAX:
            self.declined.append(f"{kind}({what[:200]})")

    def counters(self) -> dict[str, int]:
        """Of the whole thread, for the next run of it; the earlier one if none was reported."""
        return dict(self._counted or self._before)

    def usage(self) -> dict[str, Any] | None:
        """Of this run: what the thread's counters have grown by."""
        grown = {name: self._grown(name) for name in _COUNTED}
        cached = min(grown["cached_input_tokens"], grown["input_tokens"])  # counted among the input
        used = Tokens(grown["input_tokens"] - cached, grown["output_tokens"], cached)
        return usage_json(self._model, used, self._prices)

    def _grown(self, name: str) -> int:
        """Counters that went down have begun anew."""
        now, before = self._counted.get(name, 0), self._before.get(name, 0)
        return now - before if now >= before else now


def _reported_by(item: Any) -> str:
    changed = [text_in(change, "path") for change in list_in(item, "changes")]
    return text_in(item, "command") or ", ".join(changed) or text_in(item, "tool") or text_in(item, "query")
