"""Stretches of health as a bar: places and widths in thousandths, for an SVG that needs no style of its own."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from understudy.coordinator.nouns import Period

WIDTH = 1000
THINNEST = 4  # what is shorter is drawn so wide, so that it is seen


class BarPart(Struct, frozen=True):
    """One stretch: its place in the bar, and what it was."""

    state: str
    x: int
    width: int
    from_at: int
    to_at: int


def bar_of(stretches: Sequence[Period], since: int, until: int) -> list[BarPart]:
    """The parts from left to right; the time before the first one is empty."""
    parts: list[BarPart] = []
    for stretch in stretches:
        x = (stretch.from_at - since) * WIDTH // (until - since)
        end = (stretch.to_at - since) * WIDTH // (until - since)
        width = min(max(end - x, THINNEST), WIDTH)
        parts.append(BarPart(stretch.state, min(x, WIDTH - width), width, stretch.from_at, stretch.to_at))
    return parts
