"""A task's story: its content, standing, attempts, answer, events, and what may be done about it."""

from __future__ import annotations

import html
import re
from collections.abc import Callable

import pytest

from tests.api.hubs import MINUTE, Hub
from tests.dashboard.browser import Browser
from tests.dashboard.test_tasks import HOSTILE
from understudy.coordinator.nouns import Result
from understudy.coordinator.takeover_nouns import TaskTakeover
from understudy.dashboard.outputs import CHARS_SHOWN, output_of, text_output
from understudy.dashboard.pages.task import FIXES
from understudy.hub import task_story
from understudy.texts import catalogue
from understudy.worker.executors import failures

Open = Callable[..., Browser]


def running(hub: Hub, task_id: str = "t1", **fields: object) -> int:
    """A task under a lease of mini; its token."""
    hub.beat()
    hub.enqueue(task_id, **fields)
    token: int = hub.daemon_lease()["token"]
    return token


def verbs(seen: object) -> list[str]:
    return [path.rpartition("/")[2] for path in seen.acts]  # type: ignore[attr-defined]


def test_it_shows_what_was_asked_and_where_it_stands(hub: Hub, admin: Browser) -> None:
    hub.enqueue("t0")
    hub.enqueue(
        "t1", content="Water the plants\non the balcony", source="slack", priority="low", needs=["machine", "x"]
    )
    seen = admin.get("/tasks/t1")
    assert "Water the plants\non the balcony</pre>" in seen.text
    assert seen.attribute("data-status") == ["pending"]
    assert seen.attribute("data-position") == ["2"]
    assert "slack" in seen.text
    assert "<title>Water the plants on the balcony · Task · understudy</title>" in seen.text
    assert 'href="/tasks" aria-current="true"' in seen.text


def test_it_says_what_nobody_offers(hub: Hub, admin: Browser) -> None:
    hub.beat(provides=["machine"])
    hub.enqueue("t1", needs=["machine", "executor:codex"])
    hub.enqueue("t2", needs=["machine"])
    assert (
        'No working daemon offers what it needs: <span class="task-tag"><bdi class="name">executor:codex'
        in " ".join(admin.get("/tasks/t1").text.split())
    )
    assert "No working daemon" not in admin.get("/tasks/t2").text


def test_a_delayed_task_says_when_it_starts_and_may_run_now(hub: Hub, admin: Browser) -> None:
    hub.enqueue("t1", delaySec=600)
    seen = admin.get("/tasks/t1")
    assert "It starts at <time" in seen.text
    assert verbs(seen) == ["retry", "cancel"]
    admin.act("/tasks/t1/retry")
    assert hub.pending() == ["t1"]
    assert verbs(admin.get("/tasks/t1")) == ["cancel"]


def test_a_run_is_followed_to_its_answer_without_a_reload(hub: Hub, admin: Browser) -> None:
    hub.beat()
    hub.enqueue("t1")
    stream, ends = admin.stream("/tasks/t1"), admin.stream("/tasks/t1")
    stream.fragment("task_now", 'data-status="pending"')
    token = hub.daemon_lease()["token"]
    stream.fragment("task_now", 'data-status="claimed"')
    hub.beat(running=[{"taskId": "t1", "token": token, "progress": {"text": "filling the can"}}])
    stream.fragment("task_now", "filling the can")
    hub.result("t1", token=token, success=True, output="All are wet")
    ends.fragment("task_end", "All are wet")
    stream.fragment("task_past", 'data-outcome="done"')


@pytest.mark.sqlite  # from a shared store an event may come after its page, which is read once more
def test_what_becomes_of_other_tasks_does_not_matter(hub: Hub, admin: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    past = task_story.past
    monkeypatch.setattr(task_story, "past", lambda view, task_id: read.append(task_id) or past(view, task_id))
    hub.enqueue("t1")
    stream = admin.stream("/tasks/t1")
    stream.fragment("task_past", "Task t1 queued")
    before = len(read)
    hub.enqueue("t2")
    listed = admin.stream("/tasks")
    listed.fragment("tasks_rows", 'data-task="t2"')
    hub.post("/api/tasks/t2/cancel").of(200)
    listed.fragment("tasks_rows", 'data-status="cancelled"')
    hub.post("/api/tasks/t1/cancel").of(200)
    stream.fragment("task_past", "Task t1 cancelled")
    assert len(read) == before + 1


def test_attempts_are_a_timeline_with_worker_token_and_outcome(hub: Hub, admin: Browser) -> None:
    first = running(hub, maxAttempts=2)
    hub.result("t1", token=first, success=False, error="no can", failure={"class": "exit_code"})
    hub.advance(2 * MINUTE)
    second = hub.daemon_lease()["token"]
    seen = admin.get("/tasks/t1")
    assert seen.attribute("data-attempt") == [str(first), str(second)]
    assert seen.attribute("data-outcome") == ["failed", "runs"]
    assert "mini" in seen.text


def test_losses_are_counted(hub: Hub, admin: Browser) -> None:
    running(hub)
    hub.advance(2 * MINUTE)
    seen = admin.get("/tasks/t1")
    assert seen.attribute("data-losses") == ["1"]
    assert seen.attribute("data-outcome") == ["expired"]


def test_its_events_are_those_of_the_log(hub: Hub, admin: Browser) -> None:
    token = running(hub)
    hub.result("t1", token=token, success=True)
    assert admin.get("/tasks/t1").attribute("data-event") == ["task.queued", "task.claimed", "task.done"]


def test_of_many_attempts_and_events_the_last_are_shown(
    hub: Hub, admin: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(task_story, "ATTEMPTS_SHOWN", 2)
    monkeypatch.setattr(task_story, "EVENTS_SHOWN", 3)
    hub.beat()
    hub.enqueue("t1")
    tokens = []
    for _ in range(4):
        tokens.append(hub.daemon_lease()["token"])
        hub.post("/api/queue/t1/release", {"token": tokens[-1], "workerId": "mini"}).of(200)
    seen = admin.get("/tasks/t1")
    assert seen.attribute("data-attempt") == [str(token) for token in tokens[-2:]]
    assert len(seen.attribute("data-event")) == 3
    assert "Earlier ones are not shown" in seen.text


def test_an_error_comes_with_its_fix(hub: Hub, admin: Browser) -> None:
    token = running(hub)
    hub.result("t1", token=token, success=False, error="claude is not logged in", failure={"class": "auth"})
    seen = admin.get("/tasks/t1")
    assert "claude is not logged in" in seen.text
    assert seen.attribute("data-fix") == ["auth"]
    assert "Log the assistant in" in seen.text


def test_every_class_of_failure_has_a_fix() -> None:
    named = {failure.name for _, failure in failures._BY_WORDS} | {f.name for f in failures._BY_STATUS.values()}
    assert named <= FIXES.keys()
    assert {f"pages.task.fix.{fix}" for fix in FIXES.values()} == {
        key for key in catalogue("en") if key.startswith("pages.task.fix.")
    }


def test_cost_and_usage_are_shown(hub: Hub, admin: Browser) -> None:
    token = running(hub)
    usage = {"model": "claude-x", "inputTokens": 5_231, "outputTokens": 412, "costMicroUsd": 31_234, "else": {"a": 1}}
    hub.result("t1", token=token, success=True, output="wet", usage=usage)
    text = admin.get("/tasks/t1").text
    for part in ("0.031234 USD", "claude-x", "5,231", "412"):
        assert part in text


def test_a_late_result_is_shown_as_such(hub: Hub, admin: Browser) -> None:
    token = running(hub)
    hub.post("/api/tasks/t1/cancel").of(200)
    hub.result("t1", token=token, success=True, output="wet")
    assert "Results that came too late" in admin.get("/tasks/t1").text


@pytest.mark.parametrize("output", [{"a": [1, 2, {"b": "c"}]}, [], 7, True])
def test_an_output_that_is_no_text_is_shown_as_json(hub: Hub, admin: Browser, output: object) -> None:
    token = running(hub)
    hub.result("t1", token=token, success=True, output=output)
    assert 'class="json"' in admin.get("/tasks/t1").text


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_a_text_is_shown_and_does_nothing(hub: Hub, admin: Browser, text: str) -> None:
    token = running(hub, content=text, source=text[:100], onLoss="wait", needs=["machine"])
    progress = {"text": text, "phase": text}
    hub.beat(running=[{"taskId": "t1", "token": token, "progress": progress}])
    seen = admin.get("/tasks/t1").text
    hub.result("t1", token=token, success=False, output={text[:90]: text}, error=text, usage={"model": text})
    for shown in (seen, admin.get("/tasks/t1").text):
        for raw in ("<script>alert", "<img", "\u202e", "\x1b", "\u2067"):
            assert raw not in shown
    assert "49" not in re.findall(r"<h1>(.*?)</h1>", seen, re.DOTALL)[0]


def test_a_long_output_is_folded_and_bounded(hub: Hub, admin: Browser) -> None:
    token = running(hub)
    hub.result("t1", token=token, success=True, output="z" * 200_000)
    text = admin.get("/tasks/t1").text
    assert "Show all of it (200,000 characters)" in text
    assert "The first 50,000 of 200,000 characters are shown" in text
    assert len(text) < 100_000


def test_outputs() -> None:
    assert output_of("") is None
    assert output_of("null") is None
    assert output_of('""') is None
    short = text_output("a\nb")
    assert (short.text, short.lead, short.chars, short.is_cut) == ("a\nb", "", 3, False)
    long = text_output("a\n" * 40_000)
    assert long.lead.count("\n") < 20
    assert (len(long.text), long.chars, long.is_cut) == (CHARS_SHOWN, 80_000, True)


def test_an_interim_answer_is_labelled(hub: Hub, admin: Browser) -> None:
    hub.enqueue("t1")
    row = TaskTakeover("t1", spent_micro_usd=1_200, interim_answer='"Rather on Monday"', interim_at=hub.now)
    hub.store.transaction(lambda tx: tx.save_many([row]))
    seen = admin.get("/tasks/t1")
    assert "Rather on Monday" in seen.text
    assert "Interim answer" in seen.text
    assert "0.0012 USD" in seen.text
    assert seen.attribute("data-status") == ["pending"]


def test_an_answer_of_the_hub_itself_is_labelled(hub: Hub, admin: Browser) -> None:
    token = running(hub)
    hub.result("t1", token=token, success=True, output="wet")
    hub.store.transaction(lambda tx: tx.save_many([Result("t1", 1, output='"wet"', executor="claude_api", degraded=1)]))
    assert "Answered by the hub while the machine was away" in admin.get("/tasks/t1").text


# ---- acts


def test_cancel_asks_first_and_is_there_while_it_is_not_finished(hub: Hub, admin: Browser) -> None:
    running(hub)
    seen = admin.get("/tasks/t1")
    assert verbs(seen) == ["cancel"]
    assert "Cancel this task?" in html.unescape(seen.attribute("data-confirm")[0])
    answer = admin.act("/tasks/t1/cancel", "/tasks/t1")
    assert (answer.status, answer.location) == (303, "/tasks/t1")
    assert hub.task("t1")["status"] == "cancelled"


def test_what_failed_or_was_cancelled_is_tried_again(hub: Hub, admin: Browser) -> None:
    hub.enqueue("t1")
    hub.post("/api/tasks/t1/cancel").of(200)
    assert verbs(admin.get("/tasks/t1")) == ["retry"]
    admin.act("/tasks/t1/retry")
    assert hub.pending() == ["t1"]


def test_what_waits_for_its_machine_may_run_elsewhere(hub: Hub, admin: Browser) -> None:
    token = running(hub, onLoss="wait")
    hub.beat(running=[{"taskId": "t1", "token": token}])
    hub.advance(6 * MINUTE)
    seen = admin.get("/tasks/t1")
    assert "It waits for" in seen.text
    assert "Down" in seen.text
    assert verbs(seen) == ["move", "cancel"]
    admin.act("/tasks/t1/move")
    assert hub.pending() == ["t1"]


def test_what_is_done_can_only_be_looked_at(hub: Hub, admin: Browser) -> None:
    token = running(hub)
    hub.result("t1", token=token, success=True)
    assert verbs(admin.get("/tasks/t1")) == []
    assert admin.act("/tasks/t1/cancel").status == 409


def test_who_may_only_look_sees_no_act_also_when_it_is_pushed(hub: Hub, reader: Browser) -> None:
    running(hub)
    assert reader.get("/tasks/t1").acts == []
    assert "formaction" not in reader.stream("/tasks/t1").fragment("task_now")


def test_a_key_that_submits_may_act_on_its_own_tasks_only(hub: Hub, open_browser: Open) -> None:
    admin_key = "admin-key-of-the-tests"
    made = hub.post("/api/keys", {"name": "chat", "scopes": ["submit", "read"]}, key=admin_key).of(201)
    browser = open_browser(hub, "")
    assert browser.post("/login", {"key": made["key"]}).status == 303
    hub.enqueue("theirs")
    hub.post("/api/queue", {"id": "own", "content": "x"}, key=made["key"]).of(201)
    assert verbs(browser.get("/tasks/own")) == ["cancel"]
    assert verbs(browser.get("/tasks/theirs")) == []
    assert browser.act("/tasks/theirs/cancel").status == 403


def test_a_task_that_is_not_there_is_a_page(hub: Hub, admin: Browser) -> None:
    assert admin.get("/tasks/none").status == 404
    assert admin.get("/tasks/%3Cscript%3E").status == 404
