"""The page with plots: what a script draws, and tables that say the same without one."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest

from tests.api.hubs import DAY, HOUR, MINUTE, Hub
from tests.dashboard.browser import Browser, Seen
from understudy.coordinator.nouns import Task
from understudy.coordinator.samples import Sample
from understudy.coordinator.takeover_nouns import Reservation
from understudy.dashboard.pages.numbers import PLOTS
from understudy.dashboard.static_files import static_files, static_path

Open = Callable[..., Browser]


@pytest.fixture
def busy(hub: Hub) -> Hub:
    """A hub with an hour in its past."""
    at = hub.now - 2 * HOUR
    rows: list[Any] = [Sample(at + n * MINUTE, n, 2, 0, 6, 9, 4, 40 + n, 25 + n) for n in range(60)]
    rows.append(Task("a", "done", 0, queued_at=at, claimed_at=at + 1_500, finished_at=at + 61_500))
    rows.append(Reservation("r", "a", 1, "w", "m", 9, 1, at, at + 5, 1_230_000, "done"))
    hub.store.transaction(lambda tx: tx.save_many(rows))
    return hub


def plots_of(seen: Seen) -> dict[str, Any]:
    """What the script is given, by the name of the plot."""
    names = [name.removeprefix("plot-") for name in seen.attribute("id") if name.startswith("plot-")]
    return dict(zip(names, map(json.loads, seen.attribute("data-plot")), strict=True))


@pytest.mark.parametrize(("span", "count", "step_s"), [("", 144, 600), ("day", 144, 600), ("month", 120, 21_600)])
def test_every_plot_has_its_values_in_the_buckets_of_the_span(
    busy: Hub, open_browser: Open, span: str, count: int, step_s: int
) -> None:
    seen = open_browser(busy, "read").get(f"/numbers?span={span}")
    plots = plots_of(seen)
    assert list(plots) == [plot.name for plot in PLOTS]
    for plot in plots.values():
        instants, *columns = plot["values"]
        assert [len(instants), instants[1] - instants[0]] == [count, step_s]
        assert [len(column) for column in columns] == [count] * len(plot["series"])
        assert any(value is not None for value in columns[0])
    assert sum(value or 0 for value in plots["beats"]["values"][1]) == 360


def test_each_plot_has_a_table_that_says_the_same(busy: Hub, open_browser: Open) -> None:
    text = open_browser(busy, "read").get("/numbers").text
    tables = re.findall(r"<table>.*?</table>", text, re.DOTALL)
    assert len(tables) == len(PLOTS)
    cells = [set(re.findall(r"<td>(.*?)</td>", table)) for table in tables]
    for expected, found in zip(
        ({"59", "2"}, {"1.5 s"}, {"60 s"}, {"120", "240"}, {"84 ms"}, {"1.23 USD"}), cells, strict=True
    ):
        assert expected <= found
    assert all(table.count("<tr>") == 25 for table in tables)
    assert text.count('tabindex="0" role="region"') == len(PLOTS)


def test_a_span_that_there_is_not_is_a_day(busy: Hub, open_browser: Open) -> None:
    seen = open_browser(busy, "read").get("/numbers?span=%3Cscript%3E")
    assert len(plots_of(seen)["queue"]["values"][0]) == 144
    assert "<script>" not in seen.text


def test_a_hub_without_a_past_shows_empty_plots(hub: Hub, open_browser: Open) -> None:
    seen = open_browser(hub, "read").get("/numbers?span=month")
    assert all(set(column) == {None} for plot in plots_of(seen).values() for column in plot["values"][1:])


def test_only_this_page_asks_for_the_library_and_it_is_small_all_told(busy: Hub, open_browser: Open) -> None:
    browser = open_browser(busy, "read")
    assert "uPlot" not in browser.get("/").text
    page = browser.get("/numbers").text
    named = {name for name in static_files() if static_path(name) in page and not name.startswith("icon-")}
    assert {"vendor/uPlot.iife.min.js", "vendor/uPlot.min.css", "numbers.js"} <= named
    sent = sum(len(static_files()[name].compressed or static_files()[name].content) for name in named)
    assert sent + len(page.encode()) < 150_000


def test_it_is_read_again_as_time_passes(busy: Hub, open_browser: Open) -> None:
    browser = open_browser(busy, "read")
    busy.clock.advance(DAY)
    assert sum(value or 0 for value in plots_of(browser.get("/numbers"))["beats"]["values"][1]) == 0
