"""The frame of every drill: one step after the other, each within its time; the first failure ends it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from understudy.cli.drill.narrator import Narrator
from understudy.cli.exits import AbsentError, ClientError, UnreachableError
from understudy.clock import SystemClock
from understudy.spans import span
from understudy.texts import t

S = TypeVar("S")
T = TypeVar("T")
Values = Mapping[str, Any]  # what the sentence `drill.NAME.done` needs
LOOK_S = 0.03
MARGIN_MS = 20_000  # beyond what the limits ask for: a busy machine is slow


class NotSeenError(ClientError):
    """Something that the story needs did not happen in time, or something died."""

    code = "drill_failed"


def play(steps: Sequence[tuple[str, Callable[[S], Values]]], scene: S, narrator: Narrator) -> None:
    """All steps. NotSeenError names the one that did not happen."""
    for name, step in steps:
        narrator.begin(name)
        try:
            values = step(scene)
        except ClientError as error:
            narrator.failed(name, error.message)
            raise NotSeenError(t("drill.failed", step=name, reason=error.message)) from None
        narrator.done(name, values)


def until(ask: Callable[[], T], what: str, within_ms: int = 0, *, look: Callable[[], None] = lambda: None) -> T:
    """The first true answer of `ask`, with a `look` around before each. NotSeenError after `within_ms` and a margin."""
    clock = SystemClock()
    limit_ms = within_ms + MARGIN_MS
    until_ms = clock.mono_ms() + limit_ms
    while True:
        look()
        reason = ""
        try:
            if answer := ask():
                return answer
        except (UnreachableError, AbsentError) as error:
            reason = f" ({error.message})"
        if clock.mono_ms() >= until_ms:
            raise NotSeenError(t("drill.not_seen", what=what + reason, span=span(limit_ms)))
        time.sleep(LOOK_S)


def require(holds: object, what: str) -> None:
    """NotSeenError unless it holds."""
    if not holds:
        raise NotSeenError(t("drill.wrong", what=what))


def wanted(found: dict[str, Any], **values: Any) -> dict[str, Any]:
    """`found` if it has these values, else nothing."""
    return found if all(found.get(name) == value for name, value in values.items()) else {}
