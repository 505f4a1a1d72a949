"""Numbers: the last day or month as plots, each with a table that says the same."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
from msgspec import UNSET, Struct

from understudy.clock import parse_iso
from understudy.dashboard.page import Fragment, Given, Page
from understudy.hub.numbers import BUCKETS, Span, buckets
from understudy.hub.views import View
from understudy.texts import t
from understudy.wire.answers.numbers import Bucket

ROWS: dict[Span, tuple[int, int]] = {"day": (3_600_000, 24), "month": (86_400_000, 30)}  # of the tables
EVERY_S = 60
Value = Callable[[Bucket], Any]


class PlotLine(Struct, frozen=True):
    """One line of a plot: the name of its text, its colour as a variable of the style sheet, its value in a bucket."""

    name: str
    colour: str
    value: Value


class Plot(Struct, frozen=True):
    """A plot: the name of its texts, the unit of its values, its lines; bars for what is counted in a stretch."""

    name: str
    unit: str
    lines: tuple[PlotLine, ...]
    bars: bool = False


def _field(name: str) -> Value:
    return lambda bucket: getattr(bucket, name)


MOST, MEAN = "--bar-late", "--bar-healthy"
PLOTS = (
    Plot("queue", "count", (PlotLine("waiting", MOST, _field("waiting")), PlotLine("running", MEAN, _field("leased")))),
    Plot(
        "pickup",
        "s",
        (PlotLine("mean", MEAN, _field("pickup_mean_sec")), PlotLine("most", MOST, _field("pickup_max_sec"))),
    ),
    Plot("run", "s", (PlotLine("mean", MEAN, _field("run_mean_sec")), PlotLine("most", MOST, _field("run_max_sec")))),
    Plot("beats", "count", (PlotLine("beats", MEAN, _field("beats")),), bars=True),
    Plot(
        "commit",
        "ms",
        (PlotLine("mean", MEAN, _field("commit_mean_ms")), PlotLine("most", MOST, _field("commit_max_ms"))),
    ),
    Plot("spent", "usd", (PlotLine("spent", "--bar-calm", _field("spent_usd")),), bars=True),
)


class Drawn(Struct, frozen=True):
    """A plot with its values: `plot` is what the script reads, `rows` are those of the table, the newest first."""

    name: str
    plot: str
    heads: list[str]
    rows: list[tuple[str, list[str]]]  # instant, values


def span_of(given: Given) -> Span:
    """The span that the address asks for; a day if it asks for none that there is."""
    return "month" if given["span"] == "month" else "day"


def _numbers(given: Given, view: View) -> Mapping[str, Any]:
    span = span_of(given)
    fine, coarse = buckets(view, *BUCKETS[span]), buckets(view, *ROWS[span])
    return {"span_shown": span, "plots": [_drawn(plot, fine, coarse, given.language) for plot in PLOTS]}


def _drawn(plot: Plot, fine: Sequence[Bucket], coarse: Sequence[Bucket], language: str) -> Drawn:
    heads = [t(f"pages.numbers.{line.name}", language) for line in plot.lines]
    unit = t(f"pages.numbers.unit.{plot.unit}", language)
    columns = [[_number(line.value(bucket)) for bucket in fine] for line in plot.lines]
    series = [{"label": head, "line": line.colour} for head, line in zip(heads, plot.lines, strict=True)]
    instants = [parse_iso(bucket.from_at) // 1000 for bucket in fine]
    time = t("pages.numbers.time", language)
    data = {"series": series, "unit": unit, "bars": plot.bars, "time": time, "values": [instants, *columns]}
    rows = [(bucket.from_at, [_cell(line.value(bucket), unit) for line in plot.lines]) for bucket in reversed(coarse)]
    return Drawn(plot.name, msgspec.json.encode(data).decode(), heads, rows)


def _number(value: Any) -> float | None:
    return None if value is UNSET else value


def _cell(value: Any, unit: str) -> str:
    return (
        "–" if value is UNSET else unit.replace("{value}", f"{value:.4g}" if isinstance(value, float) else f"{value}")
    )


PAGE = Page("/numbers", "numbers", (Fragment("numbers", _numbers, every_s=EVERY_S),), query=("span",))
