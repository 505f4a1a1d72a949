"""Tasks, as somebody sees them who submits one and never reloads the page."""

from __future__ import annotations

import re

from playwright.sync_api import expect

from tests.browser.test_home import assert_same, mark
from tests.browser.visits import log_in
from tests.browser.watched import PHONE


def test_a_task_is_followed_from_the_form_to_its_answer(start_hub, open_page):
    hub = start_hub()
    beat = {"daemonId": "mini", "bootId": "b1", "machineId": "m1", "seq": 1}
    hub.post("/api/queue/heartbeat", beat)
    watched = open_page(hub.url, PHONE)
    log_in(watched, hub)
    page = watched.goto("/tasks")
    page.locator("#new > summary").focus()
    page.keyboard.press("Enter")
    page.fill("#content", "Say hello")
    page.dblclick("#new button.first")
    expect(page).to_have_url(re.compile(r"/tasks/task-"))  # the second click may end the first one's way there
    page.wait_for_load_state()
    mark(page)
    task_id = page.url.rpartition("/")[2]
    claim = {"workerId": "mini", "daemonId": "mini", "bootId": "b1", "provides": ["machine"]}
    claimed = hub.post("/api/queue/claim", claim)
    assert claimed["taskId"] == task_id
    expect(page.locator('.task-now[data-status="claimed"]')).to_be_visible()
    token = claimed["lease"]["token"]
    run = {"taskId": task_id, "token": token, "progress": {"text": "thinking"}}
    hub.post("/api/queue/heartbeat", beat | {"seq": 2, "running": [run]})
    expect(page.locator("[data-progress]")).to_contain_text("thinking")
    hub.post(f"/api/result/{task_id}", {"token": token, "success": True, "output": "Hello!"})
    expect(page.locator("[data-result]")).to_contain_text("Hello!")
    assert_same(page)
    watched.goto("/tasks")
    expect(page.locator("[data-task]")).to_have_count(1)


def test_a_button_never_becomes_another_one_under_the_finger(start_hub, open_page):
    hub = start_hub()
    hub.post("/api/queue", {"id": "t1", "content": "x"})
    watched = open_page(hub.url)
    watched.expects("a dialog")  # it asks whether somebody is sure
    log_in(watched, hub)
    page = watched.goto("/tasks/t1")
    asked: list[str] = []
    page.on("dialog", lambda dialog: asked.append(dialog.message))
    buttons = page.locator(".task-now button")
    buttons.click()
    expect(page.locator('.task-now[data-status="cancelled"]')).to_be_visible()
    expect(buttons).to_have_text("Try again")
    buttons.click()
    expect(page.locator('.task-now[data-status="pending"]')).to_be_visible()
    expect(buttons).to_have_text("Cancel")
    assert [message.partition(" ")[0] for message in asked] == ["Cancel", "Run"]
