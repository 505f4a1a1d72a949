"""The progress of this daemon's loops, measured by their last success and reported with each heartbeat.

Counted in contact: time during which the daemon was awake and its beats were accepted. A sleeping machine, a stopped
process or an absent hub stop this clock, so they make no loop look dead; a claim that fails for minutes while beats
get through does (docs/measured.md, Logins).
"""

from __future__ import annotations

from typing import Any

from understudy.clock import MS_PER_S


class Liveness:
    """The contact clock, and each loop's last success on it."""

    def __init__(self) -> None:
        self.contact_ms = 0
        self._heard_ms: int | None = None  # mono, of the last accepted beat
        self._marks: dict[str, tuple[int, int]] = {}  # loop → contact at its last success, limit

    def heard(self, mono_ms: int, longest_ms: int) -> None:
        """A beat was accepted; what lies between two of them counts for at most `longest_ms`."""
        if self._heard_ms is not None:
            self.contact_ms += max(0, min(mono_ms - self._heard_ms, longest_ms))
        self._heard_ms = mono_ms

    def begin(self, loop: str, limit_ms: int) -> None:
        """From now on it is expected to succeed every `limit_ms`; being started anew is no success."""
        mark = self._marks.get(loop)
        self._marks[loop] = (self.contact_ms if mark is None else mark[0], limit_ms)

    def mark(self, loop: str) -> None:
        """It succeeded, or has nothing to do."""
        self._marks[loop] = (self.contact_ms, self._marks.get(loop, (0, 0))[1])

    def end(self, loop: str) -> None:
        """Nothing is expected of it any more."""
        self._marks.pop(loop, None)

    def stopped(self) -> tuple[str, ...]:
        """The loops that are beyond their limit."""
        return tuple(name for name, (at, limit) in self._marks.items() if 0 < limit < self.contact_ms - at)

    def report(self) -> dict[str, dict[str, Any]]:
        """The loops as a heartbeat reports them, in seconds: when each last succeeded, and its limit."""
        worst: dict[str, tuple[int, int]] = {}
        for name, (at, limit) in self._marks.items():
            kind = name.partition(":")[0]  # `run:…`: of several runs the one that is worst off
            worst[kind] = max(worst.get(kind, (0, 0)), (self.contact_ms - at, limit))
        return {name: _seconds(ago, limit) for name, (ago, limit) in worst.items()}


def _seconds(ago_ms: int, limit_ms: int) -> dict[str, Any]:
    said = {"agoSec": ago_ms / MS_PER_S}
    return said | {"limitSec": limit_ms / MS_PER_S} if limit_ms else said
