"""Section 3 and 4: the record of a task, lists of them, and what owners do with one."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.hubs import MINUTE, Hub
from tests.api.wire import at


def listed(hub: Hub, query: str = "") -> list[str]:
    return [task["id"] for task in hub.get(f"/api/tasks{query}").of(200)["tasks"]]


def in_state(hub: Hub, status: str) -> str:
    """A new task in that state."""
    task_id = hub.enqueue()
    if status in ("claimed", "done", "failed"):
        token = hub.lease()["token"]
        if status != "claimed":
            hub.result(task_id, token=token, success=status == "done", output="o").of(200)
    elif status == "cancelled":
        hub.post(f"/api/tasks/{task_id}/cancel").of(200)
    return task_id


STATES = ["pending", "claimed", "done", "failed", "cancelled"]


def test_a_record_has_the_promised_shape_through_its_whole_life(hub: Hub) -> None:
    queued_at = hub.now
    task_id = hub.enqueue(content="x", source="s", metadata={"a": 1}, priority="high", onLoss="ask", needs=["machine"])
    task = hub.task(task_id)
    expected: dict[str, Any] = {
        "id": task_id,
        "status": "pending",
        "content": "x",
        "source": "s",
        "metadata": {"a": 1},
        "priority": "high",
        "needs": ["machine"],
        "onLoss": "ask",
        "attempts": [],
        "losses": 0,
    }
    assert expected.items() <= task.items()
    assert at(task["queuedAt"]) == at(task["updatedAt"]) == at(task["availableAt"]) == queued_at
    assert not {"finishedAt", "result", "waitingFor"} & task.keys()
    hub.clock.advance(1000)
    token = hub.lease("w")["token"]
    task = hub.task(task_id)
    assert task["status"] == "claimed"
    (attempt,) = task["attempts"]
    assert (attempt["token"], attempt["workerId"], at(attempt["claimedAt"])) == (token, "w", queued_at + 1000)
    assert not {"endedAt", "outcome"} & attempt.keys()
    hub.clock.advance(1000)
    hub.result(task_id, token=token, success=True, output="o").of(200)
    task = hub.task(task_id)
    assert task["status"] == "done"
    assert at(task["finishedAt"]) == at(task["updatedAt"]) == hub.now
    assert task["result"] == {"success": True, "output": "o"}
    assert (at(task["attempts"][0]["endedAt"]), task["attempts"][0]["outcome"]) == (hub.now, "done")


def test_a_record_tells_its_story(hub: Hub) -> None:
    task_id = hub.enqueue()
    hub.lease()
    hub.advance(30_000)
    hub.result(task_id, token=hub.lease()["token"], success=True).of(200)
    names = [event["name"] for event in hub.task(task_id)["history"]]
    assert names == ["task.queued", "task.claimed", "lease.expired", "task.claimed", "task.done"]


def test_what_a_task_leaves_out_has_its_default(hub: Hub) -> None:
    task = hub.task(hub.enqueue())
    assert (task["priority"], task["needs"], task["metadata"], task["source"]) == ("medium", ["machine"], {}, "")
    assert task["timeoutSec"] == 3600
    assert task["maxAttempts"] == 1


@pytest.mark.parametrize("status", STATES)
def test_tasks_are_listed_by_status(hub: Hub, status: str) -> None:
    ids = {state: in_state(hub, state) for state in reversed(STATES)}
    assert listed(hub, f"?status={status}") == [ids[status]]
    shown = hub.get(f"/api/tasks?status={status}").of(200)["tasks"][0]
    assert shown["status"] == status
    assert ("result" in shown) is (status in ("done", "failed", "cancelled"))


def test_tasks_are_listed_newest_first_also_when_finished(hub: Hub) -> None:
    ids = []
    for state in reversed(STATES):
        hub.clock.advance(10)
        ids.append(in_state(hub, state))
    assert listed(hub) == ids[::-1]


def test_tasks_are_found_by_source_and_text(hub: Hub) -> None:
    hub.enqueue("a1", content="mend the roof", source="mail")
    hub.enqueue("a2", content="mend the fence", source="slack")
    assert listed(hub, "?source=mail") == ["a1"]
    assert listed(hub, "?q=fence") == ["a2"]
    assert sorted(listed(hub, "?q=mend")) == ["a1", "a2"]
    assert listed(hub, "?q=a1") == ["a1"]
    assert listed(hub, "?q=mend&source=slack") == ["a2"]
    assert listed(hub, "?q=nothing") == []


def test_a_cursor_goes_through_all_tasks_once(hub: Hub) -> None:
    hub.post("/api/queue/batch", {"tasks": [{"content": "x"}] * 15}).of(200)
    hub.clock.advance(10)
    hub.post("/api/queue/batch", {"tasks": [{"content": "x"}] * 10}).of(200)
    seen, query = [], "?limit=7"
    for _ in range(4):
        hub.clock.advance(10)
        page = hub.get(f"/api/tasks{query}").of(200)
        seen += [task["id"] for task in page["tasks"]]
        hub.enqueue()  # what is new does not disturb it
        query = f"?limit=7&cursor={page.get('next')}"
    assert "next" not in page
    assert len(seen) == len(set(seen)) == 25


def test_a_list_that_is_whole_has_no_next(hub: Hub) -> None:
    for _ in range(3):
        hub.enqueue()
    assert "next" not in hub.get("/api/tasks?limit=4").of(200)
    assert "next" in hub.get("/api/tasks?limit=2").of(200)


# ---- cancel, retry


def test_a_cancel_is_final_at_once(hub: Hub) -> None:
    for status in ("pending", "claimed"):
        task_id = in_state(hub, status)
        assert hub.post(f"/api/tasks/{task_id}/cancel").of(200)["success"] is True
        task = hub.task(task_id)
        assert task["status"] == "cancelled"
        assert at(task["finishedAt"]) == hub.now
        hub.get(f"/api/queue/{task_id}").of(404)
        assert hub.get(f"/api/result/{task_id}").of(200)["success"] is False
        hub.post(f"/api/tasks/{task_id}/cancel").of(200)
    assert len(hub.events("task.cancelled")) == 2


@pytest.mark.parametrize("status", ["done", "failed"])
def test_what_is_over_cannot_be_cancelled(hub: Hub, status: str) -> None:
    task_id = in_state(hub, status)
    assert hub.post(f"/api/tasks/{task_id}/cancel").of(409)["code"]
    assert hub.task(task_id)["status"] == status


@pytest.mark.parametrize("status", ["failed", "cancelled"])
def test_failed_and_cancelled_tasks_can_be_tried_again(hub: Hub, status: str) -> None:
    task_id = in_state(hub, status)
    attempts = len(hub.task(task_id)["attempts"])
    hub.post(f"/api/tasks/{task_id}/retry").of(200)
    assert hub.pending() == [task_id]
    task = hub.task(task_id)
    assert task["status"] == "pending"
    assert not {"finishedAt", "result"} & task.keys()
    hub.get(f"/api/result/{task_id}").of(404)
    hub.result(task_id, token=hub.lease()["token"], success=True, output="now").of(200)
    task = hub.task(task_id)
    assert (task["status"], task["result"]["output"], len(task["attempts"])) == ("done", "now", attempts + 1)


@pytest.mark.parametrize("status", ["done", "claimed"])
def test_other_tasks_cannot_be_tried_again(hub: Hub, status: str) -> None:
    task_id = in_state(hub, status)
    assert hub.post(f"/api/tasks/{task_id}/retry").of(409)["code"]
    assert hub.task(task_id)["status"] == status


def test_a_retry_ends_a_backoff(hub: Hub) -> None:
    task_id = hub.enqueue(maxAttempts=2)
    hub.result(task_id, token=hub.lease()["token"], success=False).of(200)
    assert hub.pending() == []
    hub.post(f"/api/tasks/{task_id}/retry").of(200)
    assert hub.pending() == [task_id]


def test_a_cancelled_run_is_fenced_from_the_retried_task(hub: Hub) -> None:
    task_id = hub.enqueue()
    old = hub.lease("old")["token"]
    hub.post(f"/api/tasks/{task_id}/cancel").of(200)
    hub.post(f"/api/tasks/{task_id}/retry").of(200)
    new = hub.lease("new")["token"]
    assert hub.result(task_id, token=old, success=True).of(409)["code"] == "lease_lost"
    hub.result(task_id, token=new, success=True).of(200)


@pytest.mark.parametrize("verb", ["cancel", "retry", "move"])
def test_an_unknown_task_cannot_be_steered(hub: Hub, verb: str) -> None:
    hub.post(f"/api/tasks/unknown/{verb}").of(404)
    hub.get("/api/tasks/unknown").of(404)


@pytest.mark.sqlite
def test_finished_tasks_are_kept_for_thirty_days(hub: Hub) -> None:
    task_id = in_state(hub, "done")
    hub.clock.advance(30 * 24 * 60 * MINUTE - 60 * MINUTE)
    hub.advance(30 * MINUTE)
    assert hub.task(task_id)["status"] == "done"
    hub.advance(60 * MINUTE)
    hub.get(f"/api/tasks/{task_id}").of(404)
    hub.get(f"/api/result/{task_id}").of(404)


@pytest.mark.sqlite
def test_waiting_tasks_are_kept_for_ever(hub: Hub) -> None:
    task_id = hub.enqueue()
    hub.clock.advance(400 * 24 * 60 * MINUTE)
    hub.advance(30 * MINUTE)
    assert hub.pending() == [task_id]
