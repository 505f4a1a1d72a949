"""What people do on the pages: each act by its button, its effect seen on the page and asked of the hub."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.browser.visits import hub_with_a_day, log_in
from tests.fakes.webhook import FakeWebhook
from tests.hub_process import ADMIN_KEY
from tests.waiting import eventually

NOTED = """
new MutationObserver(([{ target }]) => sessionStorage.setItem("said", target.textContent))
  .observe(document.getElementById("said"), { childList: true })
"""


def test_takeover_is_paused_and_resumed_by_its_buttons(day, open_page):
    watched = open_page(day.url)
    watched.expects("a dialog")  # it asks whether somebody is sure
    log_in(watched, day)
    page = watched.goto("/takeover")
    for before, after in (("ready", "paused"), ("paused", "ready")):
        expect(page.locator(f"section[data-takeover={before}]")).to_be_visible()
        page.locator("section[data-takeover] button[formaction]").click()
        expect(page.locator(f"section[data-takeover={after}]")).to_be_visible()
        assert day.get("/api/takeover", key=ADMIN_KEY)["paused"] == (after == "paused")


def test_snoozed_incident_says_until_when(start_hub, open_page):
    hub = start_hub(hub_with_a_day)
    page = log_in(open_page(hub.url), hub)
    incident = page.locator("[data-incident]")
    incident.locator("button").last.click()
    expect(incident.locator("time")).to_be_visible()
    (known,) = [one for one in hub.get("/api/incidents")["incidents"] if one["daemonId"] == "office-nuc"]
    assert known["snoozedUntil"] is not None


def test_channel_is_tested_by_its_button(start_hub, open_page):
    with FakeWebhook(secret="") as hook:
        hub = start_hub(webhook_url=hook.address)
        watched = open_page(hub.url)
        log_in(watched, hub)
        page = watched.goto("/notices")
        page.locator("[data-channel=webhook] button[formaction]").click()
        expect(page.locator("[data-channel=webhook] [data-test=sent]")).to_be_visible()
        assert len(eventually(lambda: hook.keys)) == 1


def test_waiting_task_is_cancelled_on_its_page(start_hub, open_page):
    hub = start_hub()
    task_id = hub.post("/api/queue", {"content": "wait for a machine"})["taskId"]
    watched = open_page(hub.url)
    watched.expects("a dialog")
    log_in(watched, hub)
    page = watched.goto(f"/tasks/{task_id}")
    page.locator(f"button[formaction='/tasks/{task_id}/cancel']").click()
    expect(page.locator("[data-task][data-status=cancelled]")).to_be_visible()
    assert hub.get(f"/api/tasks/{task_id}")["status"] == "cancelled"


@pytest.mark.parametrize(
    ("status", "said"),
    [(403, "Load the page again"), (404, "not there any more"), (409, "have changed"), (503, "moment")],
)
def test_who_presses_a_button_in_vain_reads_why(start_hub, open_page, status, said):
    hub = start_hub()
    hub.post("/api/queue", {"id": "t1", "content": "x"})
    watched = open_page(hub.url)
    for part in ("a dialog", str(status)):
        watched.expects(part)
    log_in(watched, hub)
    page = watched.goto("/tasks/t1")
    page.route("**/cancel", lambda route: route.fulfill(status=status))
    page.locator(".task-now button").click()
    expect(page.locator("#said")).to_contain_text(said)


def test_button_after_the_end_of_the_session_leads_to_the_login_and_says_nothing_else(start_hub, open_page):
    hub = start_hub()
    hub.post("/api/queue", {"id": "t1", "content": "x"})
    watched = open_page(hub.url)
    watched.expects("a dialog")
    log_in(watched, hub)
    page = watched.goto("/tasks/t1")
    page.evaluate(NOTED)
    watched.context.clear_cookies()
    page.locator(".task-now button").click()
    page.wait_for_url(f"{hub.url}/login**")
    assert page.evaluate("sessionStorage.getItem('said')") is None


def test_log_is_searched_and_a_line_has_a_link(day, open_page):
    watched = open_page(day.url)
    log_in(watched, day)
    page = watched.goto("/log")
    page.locator("input[name=search]").fill("task-1044")
    page.locator("input[name=search]").press("Enter")
    page.wait_for_url("**/log?*search=task-1044*")
    lines = page.locator("[data-event]")
    expect(lines.nth(2)).to_be_visible()
    expect(lines.filter(has_not_text="task-1044")).to_have_count(0)
    lines.first.locator("a").first.click()
    expect(page.locator("[data-event][aria-current]")).to_be_visible()
