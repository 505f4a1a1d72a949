"""What a benchmark measured: figures with their runs, the bare rate beside them, and the target."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import psutil
from msgspec import Struct

from bench.load import TOOL


class Figure(Struct):
    """One line of the table: the same thing measured several times."""

    subject: str  # the script that measured it
    what: str
    unit: str
    runs: list[float]
    bare: list[float] = []  # the bare application in the same rounds, if a ratio makes sense
    target: str = ""
    holds: bool | None = None
    note: str = ""

    @property
    def median(self) -> float:
        return median(self.runs)

    @property
    def ratios(self) -> list[float]:
        """Ours by bare, round by round."""
        return [ours / bare for ours, bare in zip(self.runs, self.bare, strict=True)]


class Plan(Struct, frozen=True):
    """How much to measure."""

    folder: Path
    rounds: int = 3
    seconds: float = 3.0
    connections: tuple[int, ...] = (1, 16, 64)
    is_quick: bool = False
    tasks_many: int = 1_000_000
    daemons_many: int = 100_000


Subject = Callable[[Plan], Iterable[Figure]]


def number(value: float) -> str:
    """Three figures, thousands apart."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def spread(values: Sequence[float]) -> str:
    """`median (min–max)`."""
    if len(values) == 1:
        return number(values[0])
    return f"{number(median(values))} ({number(min(values))}–{number(max(values))})"


def percentile(values: Sequence[float], percent: float) -> float:
    """The value that `percent` of them do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


def table(figures: Iterable[Figure]) -> str:
    """The table in Markdown."""
    lines = [
        "| what | target | measured: median (min–max) | beside bare | holds | script |",
        "|---|---|---|---|---|---|",
    ]
    for figure in figures:
        ratio = f"{spread(figure.ratios)} ×" if figure.bare else ""
        holds = "" if figure.holds is None else "yes" if figure.holds else "**no**"
        what = figure.what + (f" ({figure.note})" if figure.note else "")
        measured = f"{spread(figure.runs)} {figure.unit}"
        lines.append(f"| {what} | {figure.target} | {measured} | {ratio} | {holds} | `bench/{figure.subject}.py` |")
    return "\n".join(lines)


def conditions(plan: Plan, figures: Sequence[Figure]) -> str:
    """One sentence about where and how it was measured."""
    bare = [rate for figure in figures for rate in figure.bare]
    seen = f"; bare answered {number(min(bare))}–{number(max(bare))} a second meanwhile" if bare else ""
    return (
        f"{datetime.now(UTC):%Y-%m-%d}, {platform.system()} {platform.machine()}, {psutil.cpu_count()} cores, "
        f"Python {platform.python_version()}, load from {TOOL}, {plan.rounds} rounds, interleaved{seen}."
    )
