"""Tells a drill step by step with its times, for people or as one JSON object at the end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from understudy.cli.terminal import paint, say, say_json
from understudy.clock import SystemClock
from understudy.spans import span
from understudy.texts import t

SPANS = "_ms"


class Narrator:
    """Counts the time from its making on."""

    def __init__(self, *, as_json: bool = False) -> None:
        self._as_json = as_json
        self._clock = SystemClock()
        self._started_ms = self._clock.mono_ms()
        self._step_ms = 0
        self.steps: list[dict[str, Any]] = []

    @property
    def elapsed_ms(self) -> int:
        """Since the beginning."""
        return self._clock.mono_ms() - self._started_ms

    def say(self, text: str) -> None:
        """A line beside the steps; not in JSON."""
        if not self._as_json:
            say(text)

    def begin(self, name: str) -> None:
        """A step is tried."""
        self._step_ms = self.elapsed_ms
        self._line(" ", t(f"drill.{name}.begin"), "dim")

    def done(self, name: str, values: Mapping[str, Any]) -> None:
        """It happened; what ends in `_ms` is shown as a span."""
        shown = {key.removesuffix(SPANS): span(v) if key.endswith(SPANS) else v for key, v in values.items()}
        self._line("✓", t(f"drill.{name}.done", **shown), "green")
        self._keep(name, **values, ok=True)

    def failed(self, name: str, reason: str) -> None:
        """It did not."""
        self._line("✗", reason, "red")
        self._keep(name, reason=reason, ok=False)

    def end(self, **more: Any) -> None:
        """The whole as JSON, if asked for."""
        if self._as_json:
            ok = bool(self.steps) and all(step["ok"] for step in self.steps)
            say_json({"ok": ok, "elapsedMs": self.elapsed_ms, "steps": self.steps, **more})

    def _line(self, sign: str, text: str, colour: str) -> None:
        if not self._as_json:
            say(f"{self.elapsed_ms / 1000:5.1f} s  {paint(sign, colour)} {paint(text, 'dim') if sign == ' ' else text}")

    def _keep(self, name: str, *, ok: bool, **values: Any) -> None:
        began, ended = self._step_ms, self.elapsed_ms
        self.steps.append({"name": name, "ok": ok, "atMs": began, "tookMs": ended - began, **_camel(values)})


def _camel(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key.replace("_ms", "Ms"): value for key, value in values.items()}
