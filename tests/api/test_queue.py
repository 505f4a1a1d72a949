"""Section 1: the queue as the first hub of this kind spoke it."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.api.hubs import HOUR, MINUTE, Hub
from tests.api.wire import at

NOT_HOLDER = {"error": "Invalid lease or not holder"}
NO_LEASE = {"error": "No active lease"}
UNKNOWN = {"error": "Task not found"}


def renew(hub: Hub, task_id: str, worker_id: str = "w", **more: Any) -> Any:
    return hub.post(f"/api/queue/{task_id}/renew", {"workerId": worker_id, **more})


def release(hub: Hub, task_id: str, **body: Any) -> Any:
    return hub.post(f"/api/queue/{task_id}/release", body)


# ---- GET /api/queue


def test_an_empty_queue_is_an_empty_list(hub: Hub) -> None:
    assert hub.get("/api/queue").of(200) == {"pending": [], "count": 0}


@pytest.mark.sqlite
def test_the_queue_is_ordered_by_priority_without_starvation(hub: Hub) -> None:
    hub.enqueue("old-low", priority="low")
    hub.advance(30 * MINUTE)
    hub.enqueue("old-medium")
    hub.advance(90 * MINUTE)
    hub.enqueue("medium", priority="medium")
    hub.enqueue("unknown", priority="whatever")
    hub.enqueue("high", priority="high")
    hub.enqueue("low", priority="low")
    hub.enqueue("critical", priority="critical")
    # order_at: critical -24 h, old-medium +0.5 h, high +1 h, old-low +1 h, medium +2 h, unknown +2 h, low +3 h
    order = hub.pending()
    assert order[:2] == ["critical", "old-medium"]
    assert set(order[2:4]) == {"high", "old-low"}
    assert order[4:] == ["medium", "unknown", "low"]
    assert [hub.claim()["taskId"] for _ in order] == order


def test_tasks_of_one_instant_keep_the_order_of_their_arrival(hub: Hub) -> None:
    tasks = [{"id": f"z{9 - n}", "content": "x"} for n in range(10)]
    hub.post("/api/queue/batch", {"tasks": tasks}).of(200)
    assert hub.pending() == [task["id"] for task in tasks]


def test_the_queue_shows_at_most_a_thousand_and_counts_what_it_shows(hub: Hub) -> None:
    hub.post("/api/queue/batch", {"tasks": [{"content": "x"}] * 1000}).of(200)
    hub.enqueue("one-too-many", priority="low")
    queue = hub.get("/api/queue").of(200)
    assert queue["count"] == len(queue["pending"]) == 1000
    assert "one-too-many" not in queue["pending"]


def test_a_task_whose_lease_has_ended_is_in_the_queue_again(hub: Hub) -> None:
    task_id = hub.enqueue()
    hub.claim(leaseDurationSec=5)
    assert hub.pending() == []
    hub.advance(4_999)
    assert hub.pending() == []
    hub.advance(1)
    assert hub.pending() == [task_id]


def test_what_cannot_be_claimed_is_not_in_the_queue(hub: Hub) -> None:
    hub.enqueue("later", delaySec=60)
    hub.enqueue("cancelled")
    hub.post("/api/tasks/cancelled/cancel").of(200)
    hub.enqueue("leased")
    hub.claim()
    assert hub.pending() == []


# ---- claim


def test_a_claim_answers_with_the_task_and_its_lease(hub: Hub) -> None:
    queued_at = hub.now
    body = {"content": "do it", "source": "slack", "metadata": {"a": [1, {"b": None}]}, "priority": "high"}
    hub.enqueue("t", **body)
    hub.clock.advance(1234)
    answer = hub.claim("w7")
    assert answer["success"] is True
    assert answer["taskId"] == "t"
    task, lease = answer["task"], answer["lease"]
    assert {**body, "id": "t", "status": "claimed"}.items() <= task.items()
    assert at(task["queuedAt"]) == queued_at
    assert at(task["updatedAt"]) == hub.now
    assert lease["workerId"] == "w7"
    assert at(lease["claimedAt"]) == hub.now
    assert at(lease["expiresAt"]) == hub.now + 300_000


@pytest.mark.parametrize("seconds", [1, 60, 600])
def test_a_lease_lasts_as_long_as_asked(hub: Hub, seconds: int) -> None:
    hub.enqueue()
    lease = hub.claim(leaseDurationSec=seconds)["lease"]
    assert at(lease["expiresAt"]) - at(lease["claimedAt"]) == seconds * 1000


@pytest.mark.parametrize("body", [{}, {"workerId": ""}], ids=str)
def test_a_worker_without_a_name_gets_one_with_the_time(hub: Hub, body: dict[str, str]) -> None:
    hub.enqueue()
    answer = hub.post("/api/queue/claim", body).of(200)
    assert answer["lease"]["workerId"] == f"worker_{hub.now}"


def test_nothing_to_do_says_how_many_wait(hub: Hub) -> None:
    assert hub.claim() == {"success": False, "message": "No tasks available", "pending": 0}
    for _ in range(3):
        hub.enqueue(needs=["gpu"])
    answer = hub.claim()
    assert answer == {"success": False, "message": "No tasks available", "pending": 3}


def test_every_task_is_leased_once_to_many_workers_at_once(hub: Hub) -> None:
    ids = {hub.enqueue() for _ in range(100)}

    def work(name: str) -> list[str]:
        client, mine = hub.new_client(), []
        while (answer := client.post("/api/queue/claim", {"workerId": name}).of(200))["success"]:
            mine.append(answer["taskId"])
        return mine

    with ThreadPoolExecutor(8) as pool:
        claimed = [task_id for mine in pool.map(work, [f"w{n}" for n in range(8)]) for task_id in mine]
    assert len(claimed) == 100
    assert set(claimed) == ids


# ---- renew


def test_a_renewal_extends_from_now(hub: Hub) -> None:
    task_id = hub.enqueue()
    claimed_at = at(hub.claim()["lease"]["claimedAt"])
    hub.clock.advance(1500)
    lease = renew(hub, task_id, extendSec=600).of(200)["lease"]
    assert lease["workerId"] == "w"
    assert at(lease["claimedAt"]) == claimed_at
    assert at(lease["renewedAt"]) == hub.now
    assert at(lease["expiresAt"]) == hub.now + 600_000
    hub.clock.advance(1000)
    assert at(renew(hub, task_id, extendSec=1).of(200)["lease"]["expiresAt"]) == hub.now + 1000
    assert at(renew(hub, task_id).of(200)["lease"]["expiresAt"]) == hub.now + 300_000


def test_an_ended_lease_that_nobody_took_is_renewed_too(hub: Hub) -> None:
    task_id = hub.enqueue()
    hub.claim(leaseDurationSec=5)
    hub.advance(MINUTE)
    assert hub.pending() == [task_id]
    renew(hub, task_id).of(200)
    assert hub.pending() == []
    assert hub.claim("other")["success"] is False
    hub.result(task_id, success=True).of(200)
    assert hub.get(f"/api/result/{task_id}").of(200)["success"] is True


def test_an_ended_lease_that_somebody_took_is_not_renewed(hub: Hub) -> None:
    task_id = hub.enqueue()
    hub.claim("first", leaseDurationSec=5)
    hub.advance(MINUTE)
    hub.claim("second")
    assert renew(hub, task_id, "first").of(403) == NOT_HOLDER
    renew(hub, task_id, "second").of(200)


def test_somebody_elses_lease_or_none_is_not_renewed(hub: Hub) -> None:
    leased, waiting = hub.enqueue(), hub.enqueue()
    hub.claim()
    assert renew(hub, leased, "other").of(403) == NOT_HOLDER
    assert renew(hub, leased, "").of(403) == NOT_HOLDER
    assert renew(hub, waiting).of(403) == NOT_HOLDER
    assert hub.pending() == [waiting]


def test_what_is_unknown_or_over_has_no_lease(hub: Hub) -> None:
    assert renew(hub, "unknown").of(404) == NO_LEASE
    for outcome in ("done", "failed", "cancelled"):
        task_id = hub.enqueue()
        hub.claim()
        if outcome == "cancelled":
            hub.post(f"/api/tasks/{task_id}/cancel").of(200)
        else:
            hub.result(task_id, success=outcome == "done").of(200)
        assert renew(hub, task_id).of(404) == NO_LEASE, outcome


# ---- release


def test_a_release_puts_the_task_back(hub: Hub) -> None:
    task_id = hub.enqueue()
    hub.claim()
    assert release(hub, task_id, workerId="w", reason="CLI missing").of(200) == {"success": True}
    assert hub.pending() == [task_id]
    assert hub.get(f"/api/queue/{task_id}").of(200)["status"] == "pending"
    assert hub.claim("other")["taskId"] == task_id


def test_another_holders_lease_is_not_released(hub: Hub) -> None:
    task_id = hub.enqueue()
    hub.claim()
    assert release(hub, task_id, workerId="other").of(403) == {"error": "Not lease holder"}
    assert hub.pending() == []


def test_releasing_what_is_not_leased_is_fine(hub: Hub) -> None:
    assert release(hub, "unknown", workerId="w").of(200) == {"success": True, "message": "No active lease"}
    task_id = hub.enqueue()
    assert release(hub, task_id, workerId="w").of(200)["success"] is True
    hub.claim()
    for _ in range(2):
        assert release(hub, task_id, workerId="w").of(200)["success"] is True
    assert hub.pending() == [task_id]
    hub.claim()
    hub.result(task_id, success=True).of(200)
    assert release(hub, task_id, workerId="w").of(200)["success"] is True
    assert hub.get(f"/api/result/{task_id}").of(200)["success"] is True


# ---- one task


def test_a_task_is_shown_with_what_it_was_enqueued_with(hub: Hub) -> None:
    body = {"content": "x", "source": "s", "metadata": {"k": {"n": 1.5}}, "priority": "odd", "needs": ["machine"]}
    hub.enqueue("t", **body)
    task = hub.get("/api/queue/t").of(200)
    assert {**body, "id": "t", "status": "pending"}.items() <= task.items()
    assert at(task["queuedAt"]) == at(task["updatedAt"]) == hub.now
    hub.clock.advance(1000)
    hub.claim()
    task = hub.get("/api/queue/t").of(200)
    assert task["status"] == "claimed"
    assert (at(task["queuedAt"]), at(task["updatedAt"])) == (hub.now - 1000, hub.now)


def test_an_unknown_or_finished_task_is_not_found(hub: Hub) -> None:
    assert hub.get("/api/queue/unknown").of(404) == UNKNOWN
    task_id = hub.enqueue()
    hub.claim()
    hub.result(task_id, success=True).of(200)
    assert hub.get(f"/api/queue/{task_id}").of(404) == UNKNOWN


# ---- status


@pytest.mark.parametrize(
    "status", ["processing", "pending", "done", "failed", "cancelled", "\u51e6\u7406\u4e2d", "x" * 256]
)
def test_a_status_is_a_note_and_takes_no_task_out_of_the_queue(hub: Hub, status: str) -> None:
    task_id = hub.enqueue()
    note = hub.post(f"/api/queue/{task_id}/status", {"status": status}).of(200)
    assert note == {"success": True, "status": status}
    assert hub.pending() == [task_id]
    assert hub.get(f"/api/queue/{task_id}").of(200)["status"] == "pending"
    hub.claim()
    hub.post(f"/api/queue/{task_id}/status", {"status": status}).of(200)
    assert hub.get(f"/api/queue/{task_id}").of(200)["status"] == "claimed"
    assert hub.claim("other")["success"] is False
    assert hub.get(f"/api/result/{task_id}").of(404)
    assert hub.task(task_id)["note"] == status


def test_the_status_of_an_unknown_task_is_not_found(hub: Hub) -> None:
    assert hub.post("/api/queue/unknown/status", {"status": "processing"}).of(404) == UNKNOWN


# ---- results

OUTPUTS: list[Any] = [
    "text",
    "",
    5,
    0,
    1.5,
    True,
    False,
    [],
    {},
    {"deep": [None, {"a": "\u8a9e"}]},
    "nul\0 and \U0001f916",
]


@pytest.mark.parametrize("output", OUTPUTS, ids=ascii)
def test_a_result_is_shown_as_it_was_reported(hub: Hub, output: Any) -> None:
    task_id = hub.enqueue()
    hub.claim()
    assert hub.get(f"/api/result/{task_id}").of(404) == {"error": "Result not found"}
    assert hub.result(task_id, success=True, output=output).of(200) == {"success": True}
    assert hub.get(f"/api/result/{task_id}").of(200) == {"success": True, "output": output}


def test_a_result_may_be_nothing_but_its_success(hub: Hub) -> None:
    task_id = hub.enqueue()
    hub.claim()
    hub.result(task_id, success=True).of(200)
    assert hub.get(f"/api/result/{task_id}").of(200) == {"success": True}


def test_a_failure_is_shown_with_its_error(hub: Hub) -> None:
    task_id = hub.enqueue()
    hub.claim()
    hub.result(task_id, success=False, output="half", error="it broke").of(200)
    shown = hub.get(f"/api/result/{task_id}").of(200)
    assert {"success": False, "output": "half", "error": "it broke"}.items() <= shown.items()
    assert hub.task(task_id)["status"] == "failed"


def test_an_unknown_task_has_no_result(hub: Hub) -> None:
    assert hub.get("/api/result/unknown").of(404) == {"error": "Result not found"}
    assert hub.result("unknown", success=True).of(404) == UNKNOWN


def test_a_cancelled_task_has_a_result_that_says_so(hub: Hub) -> None:
    task_id = hub.enqueue()
    hub.post(f"/api/tasks/{task_id}/cancel").of(200)
    result = hub.get(f"/api/result/{task_id}").of(200)
    assert result["success"] is False
    assert "cancelled" in result["error"]


def test_a_poison_task_has_a_result_that_says_so(hub: Hub) -> None:
    task_id = hub.enqueue()
    for _ in range(5):
        assert hub.claim(leaseDurationSec=1)["success"] is True
        hub.advance(1000)
    result = hub.get(f"/api/result/{task_id}").of(200)
    assert result["success"] is False
    assert "poison" in result["error"]


@pytest.mark.sqlite
def test_finished_tasks_keep_their_result_when_the_hub_starts_anew(
    start_hub: Callable[..., Hub], tmp_path: Any
) -> None:
    first = start_hub(path=tmp_path / "hub.db")
    task_id = first.enqueue()
    first.claim()
    first.result(task_id, success=True, output="kept").of(200)
    first.begin_stop().result(60)
    second = start_hub(path=tmp_path / "hub.db", clock=first.clock)
    second.advance(HOUR)
    assert second.get(f"/api/result/{task_id}").of(200) == {"success": True, "output": "kept"}
