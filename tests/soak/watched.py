"""A hub whose event loop is watched: what held it, in milliseconds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bench.processes import Hub

SCRIPT = Path(__file__).with_name("watched_hub.py")
HELD_MS_MAX = 50.0  # no request may keep the others waiting longer


class WatchedHub(Hub):
    """Start it, attack it, then ask `holds_ms`."""

    def __init__(self, data_dir: Path, **settings: Any) -> None:
        super().__init__(data_dir, script=SCRIPT, **settings)
        self._looked_at = 0

    def start(self) -> WatchedHub:
        """Start it; what held its loop while it started does not count."""
        super().start()
        self.holds_ms()
        return self

    def holds_ms(self) -> list[float]:
        """What held the loop for 20 ms or more since the last look, longest first."""
        lines = (self.data_dir / "holds.tsv").read_text().splitlines()
        found = [float(line.split("\t")[0]) for line in lines[self._looked_at :]]
        self._looked_at = len(lines)
        return sorted(found, reverse=True)

    def stacks(self) -> str:
        """Where it stood when it was held."""
        return (self.data_dir / "holds.txt").read_text("utf-8", "replace")[-6000:]

    def assert_turns(self) -> float:
        """No request held it too long; the longest of those that held it at all, in ms."""
        longest = max(self.holds_ms(), default=0.0)
        assert longest <= HELD_MS_MAX, f"held for {longest:.0f} ms:\n{self.stacks()}"
        return longest
