"""Section 3: results, one or many, each judged on its own."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.hubs import Hub


def item(lease: Any, **fields: Any) -> dict[str, Any]:
    return {"taskId": lease["taskId"], "token": lease["token"], "success": True, **fields}


def report(hub: Hub, *items: dict[str, Any]) -> Any:
    return hub.post("/api/results", {"results": list(items)}).of(200)["results"]


def leases(hub: Hub, count: int) -> list[Any]:
    for _ in range(count):
        hub.enqueue()
    return [hub.lease() for _ in range(count)]


def test_each_result_of_a_batch_is_judged_on_its_own(hub: Hub) -> None:
    good, stale, twice = leases(hub, 3)
    hub.post(f"/api/queue/{stale['taskId']}/release", {"token": stale["token"]}).of(200)
    hub.lease("other")
    hub.result(twice["taskId"], token=twice["token"], success=True).of(200)
    answers = report(hub, item(good, output=1), item(stale), item(twice), item({"taskId": "unknown", "token": 1}))
    assert [answer["taskId"] for answer in answers] == [good["taskId"], stale["taskId"], twice["taskId"], "unknown"]
    assert answers[0] == {"taskId": good["taskId"], "success": True}
    assert (answers[1]["error"], answers[1]["code"]) == ("Lease lost", "lease_lost")
    assert answers[2]["success"] is True
    assert answers[3]["error"] == "Task not found"
    assert answers[3]["code"]
    assert hub.get(f"/api/result/{good['taskId']}").of(200) == {"success": True, "output": 1}
    assert hub.get(f"/api/queue/{stale['taskId']}").of(200)["status"] == "claimed"


def test_a_hundred_results_are_one_request(hub: Hub) -> None:
    hub.post("/api/queue/batch", {"tasks": [{"content": "x"}] * 100}).of(200)
    claimed = hub.claim("w", max=100)["tasks"]
    items = [{"taskId": c["task"]["id"], "token": c["lease"]["token"], "success": True} for c in claimed]
    assert report(hub, *items) == [{"taskId": entry["taskId"], "success": True} for entry in items]
    assert all(answer["success"] for answer in report(hub, *items)), "sent again, it is accepted and changes nothing"


def test_the_first_of_two_results_in_one_batch_counts(hub: Hub) -> None:
    (lease,) = leases(hub, 1)
    answers = report(hub, item(lease, output="first"), item(lease, output="second", success=False))
    assert [answer.get("success") for answer in answers] == [True, True]
    assert answers[1]["duplicate"] is True
    assert hub.get(f"/api/result/{lease['taskId']}").of(200) == {"success": True, "output": "first"}


@pytest.mark.parametrize("how", ["single", "batch"])
def test_a_result_carries_failure_usage_and_duration(hub: Hub, how: str) -> None:
    (lease,) = leases(hub, 1)
    fields = {
        "success": False,
        "error": "no login",
        "failure": {"class": "blocked", "final": True},
        "usage": {"inputTokens": 5},
        "durationMs": 1234,
    }
    if how == "batch":
        report(hub, item(lease, **fields))
    else:
        hub.result(lease["taskId"], token=lease["token"], **fields).of(200)
    task = hub.task(lease["taskId"])
    assert task["status"] == "failed"
    assert {"success": False, "error": "no login", "failure": fields["failure"]}.items() <= task["result"].items()
    assert task["result"]["usage"] == {"inputTokens": 5}


@pytest.mark.parametrize("missing", ["token", "success", "taskId"])
def test_a_batch_needs_id_token_and_success_of_each(hub: Hub, missing: str) -> None:
    (lease,) = leases(hub, 1)
    bad = item(lease)
    del bad[missing]
    refused = hub.post("/api/results", {"results": [bad]}).of(400)
    assert refused["details"][0].startswith("results: ")
    assert hub.get(f"/api/queue/{lease['taskId']}").of(200)["status"] == "claimed"


def test_errors_may_hold_anything_that_a_program_prints(hub: Hub) -> None:
    (lease,) = leases(hub, 1)
    error = '\x1b[31mred\x1b[0m \0 \u2028 \U0001f4a5 \\ud800 "quoted"'
    report(hub, item(lease, success=False, error=error))
    assert hub.get(f"/api/result/{lease['taskId']}").of(200)["error"] == error


def test_a_success_after_a_cancellation_is_shown_as_finished_anyway(hub: Hub) -> None:
    (lease,) = leases(hub, 1)
    hub.post(f"/api/tasks/{lease['taskId']}/cancel").of(200)
    assert hub.result(lease["taskId"], token=lease["token"], success=True, output="done!").of(200)["success"] is True
    task = hub.task(lease["taskId"])
    assert task["status"] == "cancelled"
    assert hub.get(f"/api/result/{lease['taskId']}").of(200)["success"] is False
    assert any("finished anyway" in str(event) for event in task["history"])


def test_a_failure_after_a_cancellation_confirms_it(hub: Hub) -> None:
    (lease,) = leases(hub, 1)
    hub.post(f"/api/tasks/{lease['taskId']}/cancel").of(200)
    hub.result(lease["taskId"], token=lease["token"], success=False, error="killed").of(200)
    assert hub.task(lease["taskId"])["status"] == "cancelled"


@pytest.mark.parametrize(
    ("told", "shown"),
    [(185, 0.000185), (0, None), (-1, None), (True, None), ("185", None), (1.5, None), (1 << 60, None)],
)
def test_the_cost_that_a_worker_tells_is_shown_in_usd_if_it_can_be_one(
    hub: Hub, told: Any, shown: float | None
) -> None:
    (lease,) = leases(hub, 1)
    report(hub, item(lease, output="x", usage={"costMicroUsd": told}))
    assert hub.get(f"/api/tasks/{lease['taskId']}").of(200)["result"].get("costUsd") == shown
