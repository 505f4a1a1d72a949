"""Pages of one hub show what happens at another one on the same store."""

from __future__ import annotations

from collections.abc import Callable

from tests.api.hubs import Hub, SharedSqlite
from tests.dashboard.browser import Browser
from tests.waiting import eventually
from understudy.clock import ManualClock

Start = Callable[..., Hub]


def pair(start_hub: Start) -> tuple[Hub, Hub]:
    store, clock = SharedSqlite(), ManualClock()
    return start_hub(store=store, clock=clock, name="a"), start_hub(store=store, clock=clock, name="b")


def test_a_page_is_drawn_anew_for_what_another_hub_has_done(
    start_hub: Start, open_browser: Callable[..., Browser]
) -> None:
    a, b = pair(start_hub)
    stream = open_browser(b).stream("/tasks")
    stream.fragment("tasks_rows")
    a.enqueue("from-elsewhere")
    stream.fragment("tasks_rows", "from-elsewhere")


def test_a_session_that_ends_at_one_hub_is_over_at_all(start_hub: Start, open_browser: Callable[..., Browser]) -> None:
    a, b = pair(start_hub)
    browser = open_browser(b)
    stream = browser.stream("/tasks")
    stream.fragment("tasks_rows")
    a.post("/api/sessions/end", {}, key="admin-key-of-the-tests").of(200)
    assert eventually(lambda: stream.next()[0] == "over", what="the end of the stream")
    assert browser.get("/tasks").status == 303


def test_the_page_of_deployments_says_which_hubs_run(start_hub: Start, open_browser: Callable[..., Browser]) -> None:
    a, b = pair(start_hub)
    browser = open_browser(a)
    assert browser.get("/deployments").text.count("data-running") == 2
    b.begin_stop().result(30)
    assert browser.get("/deployments").text.count("data-running") == 1
