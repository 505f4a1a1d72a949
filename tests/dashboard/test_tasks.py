"""Tasks: the list, its filters, its counts, what is pushed, and searches that take too long."""

from __future__ import annotations

import asyncio
import html
import re
import threading
from collections.abc import Callable
from typing import Any

import pytest

from tests.api.hubs import MINUTE, Hub
from tests.dashboard.browser import Browser, Seen
from understudy.api.fields import form_of
from understudy.dashboard import asked
from understudy.dashboard.app import ActApp
from understudy.dashboard.pages import tasks
from understudy.errors import SlowReadError, UnavailableError
from understudy.hub import task_list
from understudy.runtime.hub.runtime import HubRuntime

Open = Callable[..., Browser]


@pytest.fixture
def busy(hub: Hub) -> Hub:
    """A hub with tasks in every state: t1 done, t2 failed, t3 cancelled, t4 running, t5 waiting."""
    hub.beat()
    for n in range(1, 6):
        hub.enqueue(f"t{n}", content=f"water plant {n}", source="slack" if n % 2 else "mail")
        hub.advance(1_000)
    for task_id, success in (("t1", True), ("t2", False)):
        lease = hub.daemon_lease()
        hub.result(task_id, token=lease["token"], success=success, output="wet")
    hub.post("/api/tasks/t3/cancel").of(200)
    hub.beat("studio", "b2", "m2")
    hub.daemon_lease("studio", "b2")
    return hub


def test_tasks_are_listed_newest_first_with_the_words_of_the_wire(busy: Hub, admin: Browser) -> None:
    seen = admin.get("/tasks")
    assert seen.attribute("data-task") == ["t5", "t4", "t3", "t2", "t1"]
    assert seen.attribute("data-status") == ["pending", "claimed", "cancelled", "failed", "done"]
    assert "water plant 5" in seen.text
    assert 'href="/tasks/t5"' in seen.text


def test_waiting_and_running_are_counted_above(busy: Hub, admin: Browser) -> None:
    seen = admin.get("/tasks?status=done")
    assert (seen.attribute("data-waiting"), seen.attribute("data-running")) == (["1"], ["1"])


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("status=failed", ["t2"]),
        ("source=mail", ["t4", "t2"]),
        ("q=PLANT+3", ["t3"]),
        ("daemon=mini", ["t2", "t1"]),
        ("daemon=studio&status=claimed", ["t4"]),
        ("q=plant&source=slack&status=done", ["t1"]),
        ("q=nothing+like+it", []),
    ],
)
def test_a_filter_stands_in_the_address(busy: Hub, admin: Browser, query: str, found: list[str]) -> None:
    assert admin.get(f"/tasks?{query}").attribute("data-task") == found
    assert [task["id"] for task in busy.get(f"/api/tasks?{query}").of(200)["tasks"]] == found


def test_filters_are_kept_by_each_other(busy: Hub, admin: Browser) -> None:
    seen = admin.get("/tasks?q=plant&source=slack&status=done")
    assert {"plant", "slack", "done"} <= set(seen.attribute("value"))
    assert "/tasks?q=plant&status=failed&source=slack" in seen.attribute("href")


def test_what_the_address_names_must_exist(hub: Hub, admin: Browser) -> None:
    assert admin.get("/tasks?status=bogus").status == 400
    assert admin.get("/tasks?cursor=bogus").status == 400


def test_older_ones_are_a_page_away_and_the_filter_comes_along(
    busy: Hub, admin: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks, "ROWS", 2)
    found: list[str] = []
    path = "/tasks?q=plant"
    while path:
        seen = admin.get(path)
        found += seen.attribute("data-task")
        path = next((href for href in seen.attribute("href") if "cursor=" in href and "lang=" not in href), "")
        assert not path or path.startswith("/tasks?q=plant&cursor=")
    assert found == ["t5", "t4", "t3", "t2", "t1"]


def test_with_no_task_it_says_where_they_come_from(hub: Hub, admin: Browser) -> None:
    assert "understudy submit" in admin.get("/tasks").text
    assert "understudy submit" not in admin.get("/tasks?q=x").text


def test_a_row_says_what_its_task_waits_for(hub: Hub, admin: Browser) -> None:
    hub.beat()
    hub.enqueue("t1", onLoss="wait")
    lease = hub.daemon_lease()
    hub.beat(running=[{"taskId": "t1", "token": lease["token"]}])
    hub.advance(6 * MINUTE)
    hub.enqueue("t2", delaySec=600)
    text = admin.get("/tasks").text
    assert 'waits for <bdi class="name">mini</bdi>' in text
    assert "not before <time" in text


def test_a_new_task_and_its_end_are_pushed_also_to_a_search(hub: Hub, admin: Browser) -> None:
    plain, searching = admin.stream("/tasks"), admin.stream("/tasks?q=needle")
    plain.fragment("tasks_rows")
    searching.fragment("tasks_rows")
    hub.enqueue("t1", content="the needle")
    plain.fragment("tasks_rows", 'data-status="pending"')
    searching.fragment("tasks_rows", 'data-task="t1"')
    hub.post("/api/tasks/t1/cancel").of(200)
    searching.fragment("tasks_rows", 'data-status="cancelled"')


def test_the_counts_are_pushed(hub: Hub, admin: Browser) -> None:
    stream = admin.stream("/tasks?q=needle")
    stream.fragment("tasks_counts")
    hub.enqueue("t1")
    stream.fragment("tasks_counts", 'data-waiting="1"')


def test_a_filter_stands_in_the_line_of_searches(hub: Hub, admin: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = _lines(monkeypatch)
    admin.get("/tasks")
    assert lines == []
    admin.get("/tasks?status=done")
    assert lines == ["env:ADMIN_API_KEY"], "of its own key, not of all pages together"


@pytest.mark.parametrize(
    ("error", "word"), [(SlowReadError(), "too_slow"), (UnavailableError("Too many searches"), "too_many")]
)
def test_a_search_that_fails_says_so_and_keeps_what_was_asked(
    hub: Hub, admin: Browser, monkeypatch: pytest.MonkeyPatch, error: Exception, word: str
) -> None:
    async def search(*_: object) -> str:
        raise error

    monkeypatch.setattr(HubRuntime, "search", search)
    seen = admin.get("/tasks?q=find+me")
    assert seen.status == 200
    assert seen.attribute("data-search-failed") == [word]
    assert "find me" in seen.attribute("value")


def test_a_search_that_takes_long_keeps_nothing_else_waiting(
    hub: Hub, admin: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def search(*_: object) -> str:
        await asyncio.Event().wait()
        return ""

    monkeypatch.setattr(HubRuntime, "search", search)
    stream = admin.stream("/tasks?q=needle")
    stream.fragment("tasks_counts", 'data-waiting="0"')
    hub.enqueue("t1")
    stream.fragment("tasks_counts", 'data-waiting="1"')


def _lines(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    lines: list[str] = []
    search = HubRuntime.search

    async def noted(self: HubRuntime, key_id: str, show: object) -> object:
        lines.append(key_id)
        return await search(self, key_id, show)  # type: ignore[arg-type]

    monkeypatch.setattr(HubRuntime, "search", noted)
    return lines


HOSTILE = [
    "<script>alert(1)</script>", "\"'><img src=x onerror=alert(1)>", "\u202egnp.exe", "\x1b[31mred\x1b[0m",
    "y" * 10_000, "\u200f\u2067", "名前" * 5_000, "{{ 7*7 }}",
]  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_a_text_is_shown_and_does_nothing(hub: Hub, admin: Browser, text: str) -> None:
    hub.enqueue("t1", content=text, source=text[:100], priority=text[:30])
    text_of_page = admin.get("/tasks").text
    for raw in ("<script>alert", "<img", "\u202e", "\x1b", "\u2067"):
        assert raw not in text_of_page
    assert max(map(len, html.unescape(text_of_page).split())) < 1_000
    assert admin.get("/tasks", Accept_Language="ja").status == 200


def test_what_a_list_reads_is_bounded(hub: Hub, admin: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(task_list, "TITLES_BYTES_MAX", 3_000)
    hub.enqueue("t1", content="a" * 2_000)
    hub.enqueue("t2", content="b" * 500)
    text = admin.get("/tasks").text
    assert "b" * 100 in text
    assert "a" * 100 not in text, "there was no room for it any more"
    assert 'data-task="t1"' in text


def test_who_may_only_look_sees_the_list(busy: Hub, reader: Browser) -> None:
    assert len(reader.get("/tasks").attribute("data-task")) == 5


# ---- the form


def submitted(browser: Browser, **fields: str) -> Seen:
    """The form as its page gives it, with these fields filled in."""
    seen = browser.get("/tasks")
    (key,) = re.findall(r'name="dedupKey" value="([^"]+)"', seen.text)
    return browser.post("/submit", {"token": seen.token, "back": "/tasks", "dedupKey": key, "source": "web"} | fields)


def test_a_form_that_was_refused_keeps_the_filter_of_its_list(busy: Hub, admin: Browser) -> None:
    path = "/tasks?q=plant&status=failed"
    seen = admin.get(path)
    (back, *_) = re.findall(r'name="back" value="([^"]+)"', seen.text)
    refused = admin.post("/submit", {"token": seen.token, "back": html.unescape(back), "content": ""})
    assert refused.status == 400
    assert refused.attribute("data-task") == ["t2"]


def test_a_large_form_is_read_beside_the_loop(hub: Hub, admin: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    """One of a MiB held everybody up for 80 ms."""
    threads: list[str] = []

    def noted(work: Callable[..., Any]) -> Callable[..., Any]:
        def worked(*given: Any) -> Any:
            threads.append(threading.current_thread().name)
            return work(*given)

        return worked

    monkeypatch.setattr(asked, "form_of", noted(form_of))
    monkeypatch.setattr(ActApp, "_operation", noted(ActApp._operation))
    for size in (100, 900_000):
        text = "あ" * (size // 9)
        task = hub.task(submitted(admin, content=text).location.removeprefix("/tasks/"))
        assert task["content"] == text
    assert threads[0] == threads[1], "the loop's"
    assert threads[0] not in threads[2:]


def test_a_task_is_submitted_and_its_story_follows(hub: Hub, admin: Browser) -> None:
    answer = submitted(admin, content="Count\r\nthe plants", needs="text", priority="high")
    assert answer.status == 303
    task_id = answer.location.removeprefix("/tasks/")
    task = hub.task(task_id)
    assert (task["content"], task["needs"], task["priority"], task["source"]) == (
        "Count\nthe plants",
        [],
        "high",
        "web",
    )
    assert "Count\nthe plants" in admin.get(answer.location).text


def test_what_is_left_empty_is_as_if_a_program_had_left_it_out(hub: Hub, admin: Browser) -> None:
    plain = hub.task(hub.enqueue(content="x", source="web"))
    empty = dict.fromkeys(("timeoutSec", "delaySec", "maxAttempts", "onLoss", "conversation", "replyTo"), "")
    task = hub.task(submitted(admin, content="x", needs="machine", priority="medium", **empty).location[7:])
    names = {"needs", "priority", "timeoutSec", "onLoss", "maxAttempts", "takeover", "source", "status"}
    assert {name: task[name] for name in names} == {name: plain[name] for name in names}


def test_all_of_the_form_goes_into_the_task(hub: Hub, admin: Browser) -> None:
    more = {"timeoutSec": "10m", "delaySec": "8h", "maxAttempts": "3", "onLoss": "wait", "conversation": " slack:sato "}
    task = hub.task(submitted(admin, content="x", **more).location[7:])
    assert (task["timeoutSec"], task["delaySec"], task["maxAttempts"], task["onLoss"]) == (600, 28_800, 3, "wait")
    assert task["conversation"] == "slack:sato"


def test_a_form_that_is_sent_twice_makes_one_task(hub: Hub, admin: Browser) -> None:
    seen = admin.get("/tasks")
    (key,) = re.findall(r'name="dedupKey" value="([^"]+)"', seen.text)
    form = {"token": seen.token, "back": "/tasks", "dedupKey": key, "content": "once"}
    places = {admin.post("/submit", form).location for _ in range(3)}
    assert len(places) == 1
    assert len(hub.pending()) == 1
    again = admin.post("/submit", form | {"content": "something else"})
    assert again.status == 422
    assert "This form has been sent before" in again.text
    assert "something else" in again.text
    (fresh,) = re.findall(r'name="dedupKey" value="([^"]+)"', again.text)
    assert fresh != key
    assert admin.post("/submit", form | {"content": "something else", "dedupKey": fresh}).status == 303


def test_each_form_has_its_own_name(hub: Hub, admin: Browser) -> None:
    assert submitted(admin, content="same").location != submitted(admin, content="same").location


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("content", ""),
        ("content", " \n "),
        ("timeoutSec", "soon"),
        ("timeoutSec", "8d"),
        ("timeoutSec", "0"),
        ("timeoutSec", "9" * 400),
        ("delaySec", "367d"),
        ("delaySec", "-1"),
        ("maxAttempts", "0"),
        ("maxAttempts", "101"),
        ("maxAttempts", "1e3"),
    ],
)
@pytest.mark.parametrize("language", ["en", "ja"])
def test_what_is_wrong_is_said_at_its_field_and_the_rest_is_kept(
    hub: Hub, open_browser: Open, field: str, value: str, language: str
) -> None:
    browser = open_browser(hub, Accept_Language=language)
    answer = submitted(browser, **({"content": "keep <this>", "priority": "low"} | {field: value}))
    assert answer.status == 400
    assert answer.attribute("aria-invalid") == ["true"]
    assert 'class="wrong"' in answer.text
    assert field == "content" or "keep &lt;this&gt;" in answer.text
    assert '<option value="low" selected>' in answer.text
    assert hub.pending() == []


@pytest.mark.parametrize("field", ["priority", "onLoss"])
def test_a_choice_that_there_is_not_is_refused(hub: Hub, admin: Browser, field: str) -> None:
    assert submitted(admin, content="x", **{field: "bogus"}).status == 400
    assert submitted(admin, content="x", replyTo="nowhere").status == 400
    assert hub.pending() == []


def test_a_key_that_submits_and_reads_may_submit_and_owns_it(hub: Hub, open_browser: Open) -> None:
    made = hub.post("/api/keys", {"name": "chat", "scopes": ["submit", "read"]}, key="admin-key-of-the-tests").of(201)
    browser = open_browser(hub, "")
    browser.post("/login", {"key": made["key"]})
    answer = submitted(browser, content="x")
    assert answer.status == 303
    assert verbs(browser.get(answer.location)) == ["cancel"]


def verbs(seen: Seen) -> list[str]:
    return [path.rpartition("/")[2] for path in seen.acts]


def test_who_may_only_look_has_no_form(hub: Hub, reader: Browser) -> None:
    text = reader.get("/tasks").text
    assert "textarea" not in text
    assert "dedupKey" not in text
