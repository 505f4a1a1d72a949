"""Pages whose hub has other files than they were made with, as while an installation is upgraded hub by hub."""

from __future__ import annotations

import itertools
import re
from typing import Any

import pytest
from playwright.sync_api import Page, Route, expect

from tests.browser.visits import log_in
from tests.hub_process import HubProcess


@pytest.fixture
def hub(start_hub: Any) -> HubProcess:
    made: HubProcess = start_hub()
    return made


@pytest.fixture
def page(hub: HubProcess, open_page: Any) -> Page:
    """Tasks, made by an older hub than its stream; `data-load` says how often it was loaded."""
    shown = log_in(open_page(hub.url), hub)
    loads = itertools.count(1)

    def older(route: Route) -> None:
        if route.request.resource_type != "document":
            route.continue_()
            return
        answer = route.fetch()
        marks = f'data-version="older" data-load="{next(loads)}"'
        route.fulfill(response=answer, body=re.sub(r'data-version="\w+"', marks, answer.text()))

    shown.clock.install()
    shown.route(f"{hub.url}/tasks", older)
    shown.goto(f"{hub.url}/tasks", wait_until="commit")
    return shown


def is_loaded(page: Page, times: int, hub: HubProcess) -> None:
    """Wait for so many loads; none follows by what its stream says first."""
    body = page.locator("body")
    expect(body).to_have_attribute("data-load", str(times))
    page.wait_for_load_state()
    task_id = hub.post("/api/queue", {"content": "x"})["taskId"]
    expect(page.locator(f'[data-task="{task_id}"]')).to_be_visible()
    expect(body).to_have_attribute("data-load", str(times))


def test_with_hubs_of_two_versions_a_page_is_loaded_anew_once_in_half_a_minute(page, hub):
    is_loaded(page, 2, hub)
    page.clock.fast_forward("00:31")
    is_loaded(page, 3, hub)


def test_a_page_of_an_older_version_waits_while_somebody_fills_in_a_form(page, hub):
    is_loaded(page, 2, hub)
    page.locator("#new > summary").click()
    page.fill("#content", "half a thought")
    page.locator("#content").blur()
    page.clock.fast_forward("00:31")
    is_loaded(page, 2, hub)
    expect(page.locator("#content")).to_have_value("half a thought")
    page.fill("#content", "")
    page.clock.fast_forward("00:31")
    is_loaded(page, 2, hub)
    page.locator("#content").blur()
    page.clock.fast_forward("00:04")
    is_loaded(page, 3, hub)
