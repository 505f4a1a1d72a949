"""The story of a task: its content, its standing, its attempts and events, its end; and what may be done about it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from understudy.api.app import endpoint_named
from understudy.dashboard.outputs import output_of, text_output
from understudy.dashboard.page import Act, Fragment, Given, Page
from understudy.hub import task_story
from understudy.hub.views import View

# classes of failures, by the text that says what to do about them
FIXES = {
    "auth": "auth", "credit": "credit", "rate_limited": "later", "overloaded": "later", "blocked": "blocked",
    "refused": "words", "too_long": "shorter", "max_tokens": "shorter", "budget": "budget", "max_turns": "budget",
    "timed_out": "time", "poison": "poison", "not_possible": "elsewhere", "no_output": "look", "exit_code": "look",
    "interrupted": "look", "session": "look", "usage": "look", "api_error": "look", "internal": "look",
    "spawn_failed": "look",
}  # fmt: skip
TOKENS = ("inputTokens", "outputTokens", "cacheReadTokens", "cacheWriteTokens")
TASK_EVENTS = frozenset({"task", "lease", "takeover", "result"})


def _asked(given: Given, view: View) -> Mapping[str, Any]:
    asked = task_story.asked(view, given["task_id"])
    return {"asked_for": asked, "content": text_output(asked.content) if asked.content else None}


def _standing(given: Given, view: View) -> Mapping[str, Any]:
    now = task_story.standing(view, given["task_id"])
    task = now.task
    may = given.may_steer(task.submitter)
    is_delayed = now.status == "pending" and not task.ready and not task.waiting_for
    return {
        "now": now,
        "most": task_story.POSITION_MAX,
        "is_delayed": is_delayed,
        "may_cancel": may and now.status in ("pending", "claimed"),
        "may_retry": may and now.status in ("failed", "cancelled"),
        "may_hurry": may and is_delayed,
        "may_move": may and bool(task.waiting_for),
    }


def _past(given: Given, view: View) -> Mapping[str, Any]:
    return {"past": task_story.past(view, given["task_id"])}


def _ending(given: Given, view: View) -> Mapping[str, Any]:
    end = task_story.ending(view, given["task_id"])
    result, takeover = end.result, end.takeover
    return {
        "end": end,
        "output": output_of(result.output) if result is not None else None,
        "error": output_of(result.error) if result is not None and not result.success else None,
        "fix": FIXES.get(_failure_of(result.failure), "") if result is not None else "",
        "usage": _usage(result.usage) if result is not None else [],
        "interim": output_of(takeover.interim_answer),
    }


def _failure_of(encoded: str) -> str:
    failure = msgspec.json.decode(encoded) if encoded else None
    return str(failure.get("class", "")) if isinstance(failure, dict) else ""


def _usage(encoded: str) -> list[tuple[str, object]]:
    """(name, value) of the model and the tokens, where they are known."""
    said = msgspec.json.decode(encoded) if encoded else None
    if not isinstance(said, dict):
        return []
    tokens = [(name, said[name]) for name in TOKENS if isinstance(said.get(name), int) and said[name]]
    model = said.get("model")
    return [("model", model), *tokens] if isinstance(model, str) and model else tokens


PAGE = Page(
    "/tasks/{task_id}",
    "task",
    (
        Fragment("task_now", _standing, TASK_EVENTS, every_s=2, about="task_id"),
        Fragment("task_end", _ending, TASK_EVENTS, about="task_id"),
        Fragment("task_past", _past, TASK_EVENTS, about="task_id"),
    ),
    _asked,
    under="tasks",
)
ACTS = tuple(
    Act(f"tasks.{verb}", f"/tasks/{{task_id}}/{verb}", endpoint_named("POST", f"/api/tasks/{{task_id}}/{verb}"))
    for verb in ("cancel", "retry", "move")
)
