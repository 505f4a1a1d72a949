"""States of health in word, shape and colour; progress and money in words."""

from __future__ import annotations

import json
from typing import Any

from msgspec import Struct

from understudy.cli.terminal import safe
from understudy.spans import span
from understudy.texts import t

PROGRESS_CHARS = 400
WHOLE_SECONDS_BELOW_MS = 10_000


class Appearance(Struct, frozen=True):
    """A state's shape beside its word, its part of a bar (with and without Unicode), its style (of rich), its place."""

    shape: str
    part: str
    plain_part: str
    style: str


APPEARANCES = {  # the worst first
    "down": Appearance("✖", "▁", "!", "bold red"),
    "stuck": Appearance("◆", "▃", "%", "bold magenta"),
    "late": Appearance("▲", "▅", "+", "yellow"),
    "unknown": Appearance("?", "?", "?", "dim"),
    "stopped": Appearance("○", "_", "_", "dim"),
    "draining": Appearance("↓", "~", "~", "cyan"),
    "paused": Appearance("=", "=", "=", "cyan"),
    "asleep": Appearance("z", "·", "z", "blue"),
    "new": Appearance("+", ".", ".", "dim"),
    "healthy": Appearance("●", "█", "#", "green"),
}
NONE = Appearance(" ", "╌", "-", "dim")  # before the first period
OTHER = Appearance("?", "?", "?", "dim")
ORDER = {state: place for place, state in enumerate(APPEARANCES)}


def state_word(state: str) -> str:
    """A state in the reader's language; as it came, made safe, if it is none that is known."""
    return t(f"cli.watch.state.{state}") if state in APPEARANCES or state == "forgotten" else safe(state)


def progress_of(run: dict[str, Any]) -> str:
    """The progress of a run, in one text; "" for nothing."""
    said = run.get("progress")
    if isinstance(said, dict):
        percent = said.get("percent")
        words = [f"{percent:g} %"] if isinstance(percent, int | float) else []
        words += [str(said[key]) for key in ("phase", "text") if said.get(key)]
        said = " ".join(words) or json.dumps(said, ensure_ascii=False)
    return "" if said in (None, "") else str(said)[:PROGRESS_CHARS]


def money_of(spent_usd: float, limit_usd: float) -> str:
    """The spending of this day."""
    return t("cli.watch.money", spent=f"{spent_usd:.2f}", limit=f"{limit_usd:.2f}")


def counted(ms: float) -> str:
    """A duration that is shown again each second: whole seconds also where it is short."""
    return t("span.s", count=max(int(ms / 1000), 0)) if ms < WHOLE_SECONDS_BELOW_MS else span(ms)
