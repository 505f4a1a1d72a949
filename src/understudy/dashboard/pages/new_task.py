"""The form for a new task, and how its fields are read."""

from __future__ import annotations

from collections.abc import Callable

from understudy.api.app import endpoint_named
from understudy.config.kinds import duration_ms
from understudy.dashboard.page import Act, FieldError
from understudy.wire.answers.tasks import EnqueueAnswer

PRIORITIES = ("critical", "high", "medium", "low")
WEEK_S, YEAR_S = 7 * 86_400, 366 * 86_400
ATTEMPTS_MAX = 100


def _content(text: str) -> str:
    """Browsers send each line break as two characters."""
    if not text.strip():
        raise FieldError("pages.tasks.new.empty")
    return text.replace("\r\n", "\n")


def _needs(word: str) -> list[str]:
    return [] if word == "text" else ["machine"]


def _one_of(*words: str) -> Callable[[str], str]:
    def read(word: str) -> str:
        if word not in words:
            raise ValueError(word)
        return word

    return read


def _seconds(least_s: int, most_s: int, expected: str) -> Callable[[str], int]:
    """A duration within bounds, `5m` or `90` (seconds), in whole seconds; `expected` is the text for any other."""

    def read(text: str) -> int:
        compact = text.strip()
        try:
            seconds = duration_ms(f"{compact}s" if compact.isdecimal() else compact) // 1000
        except ValueError:
            seconds = -1
        if not least_s <= seconds <= most_s:
            raise FieldError(expected)
        return seconds

    return read


def _attempts(text: str) -> int:
    count = int(text) if text.isascii() and text.isdecimal() and len(text) < len("1000") else 0
    if not 1 <= count <= ATTEMPTS_MAX:
        raise FieldError("pages.tasks.new.bad_attempts")
    return count


def _story(answer: EnqueueAnswer) -> str:
    return f"/tasks/{answer.task_id}"


SUBMIT = Act(
    "tasks.submit",
    "/submit",
    endpoint_named("POST", "/api/queue"),
    {
        "content": _content,
        "needs": _needs,
        "priority": _one_of(*PRIORITIES),
        "timeoutSec": _seconds(1, WEEK_S, "pages.tasks.new.bad_duration"),
        "maxAttempts": _attempts,
        "onLoss": _one_of("requeue", "wait", "ask"),
        "delaySec": _seconds(0, YEAR_S, "pages.tasks.new.bad_delay"),
        "conversation": str.strip,
        "replyTo": str.strip,
        "source": str,
        "dedupKey": str,
    },
    page="tasks",
    required=frozenset({"content"}),
    leads_to=_story,
)
