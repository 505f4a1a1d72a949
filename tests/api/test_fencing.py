"""Section 2: every lease has a token that only grows; an older one changes nothing."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.hubs import DAY, MINUTE, Hub

LOST = "lease_lost"


def renew(hub: Hub, task_id: str, **body: Any) -> Any:
    return hub.post(f"/api/queue/{task_id}/renew", body)


def release(hub: Hub, task_id: str, **body: Any) -> Any:
    return hub.post(f"/api/queue/{task_id}/release", body)


def taken_over(hub: Hub) -> tuple[str, int, int]:
    """A task whose first lease ended and that another worker holds: its id, the old token, the new one."""
    task_id = hub.enqueue()
    old = hub.lease("old")["token"]
    hub.advance(30_000)
    new = hub.lease("new")["token"]
    return task_id, old, new


@pytest.mark.sqlite
def test_tokens_only_grow_through_losses_retries_and_a_clock_that_goes_back(hub: Hub) -> None:
    task_id = hub.enqueue(maxAttempts=3)
    tokens = [hub.lease()["token"]]
    release(hub, task_id, token=tokens[-1]).of(200)
    hub.jump(-DAY)
    tokens.append(hub.lease()["token"])
    hub.result(task_id, token=tokens[-1], success=False, failure={"class": "x", "final": True}).of(200)
    hub.post(f"/api/tasks/{task_id}/retry").of(200)
    tokens.append(hub.lease()["token"])
    hub.post(f"/api/tasks/{task_id}/cancel").of(200)
    hub.post(f"/api/tasks/{task_id}/retry").of(200)
    tokens.append(hub.lease()["token"])
    assert all(isinstance(token, int) for token in tokens)
    assert tokens == sorted(set(tokens))
    assert [attempt["token"] for attempt in hub.task(task_id)["attempts"]] == tokens


def test_a_token_is_at_least_the_time_so_that_it_survives_a_lost_store(hub: Hub) -> None:
    hub.enqueue()
    assert hub.lease()["token"] >= hub.now


def test_an_older_token_changes_nothing(hub: Hub) -> None:
    task_id, old, new = taken_over(hub)
    before = hub.task(task_id)
    for answer in (
        renew(hub, task_id, token=old),
        renew(hub, task_id, token=old, workerId="new"),
        release(hub, task_id, token=old),
        release(hub, task_id, token=old, reason="daemon_gone", workerId="new"),
        hub.post(f"/api/queue/{task_id}/status", {"token": old, "status": "processing"}),
        hub.result(task_id, token=old, success=True, output="late"),
    ):
        refused = answer.of(409)
        assert (refused["error"], refused["code"]) == ("Lease lost", LOST)
        assert refused["heldBy"] == "new"
    after = hub.task(task_id)
    assert (
        len(after.pop("history")) == len(before.pop("history")) + 1
    )  # the late result leaves a trace, and that is all
    assert after == before
    hub.result(task_id, token=new, success=True, output="ours").of(200)
    assert hub.get(f"/api/result/{task_id}").of(200)["output"] == "ours"


def test_a_late_result_is_kept_as_evidence(hub: Hub) -> None:
    task_id, old, _ = taken_over(hub)
    hub.result(task_id, token=old, success=True, output="late").of(409)
    assert any("evidence" in event["message"] for event in hub.task(task_id)["history"])


def test_a_status_with_the_current_token_is_noted(hub: Hub) -> None:
    task_id, _, new = taken_over(hub)
    hub.post(f"/api/queue/{task_id}/status", {"token": new, "status": "processing"}).of(200)
    assert hub.task(task_id)["note"] == "processing"


def test_a_made_up_token_is_refused(hub: Hub) -> None:
    task_id = hub.enqueue()
    assert renew(hub, task_id, token=1).of(409)["code"] == LOST
    token = hub.lease()["token"]
    assert renew(hub, task_id, token=token + 1).of(409)["code"] == LOST
    assert hub.result(task_id, token=token + 1, success=True).of(409)["code"] == LOST
    assert hub.result(task_id, token=0, success=True).of(409)["code"] == LOST
    assert hub.get(f"/api/queue/{task_id}").of(200)["status"] == "claimed"


def test_an_ended_token_counts_until_somebody_else_has_the_task(hub: Hub) -> None:
    for verb in ("renew", "result"):
        task_id = hub.enqueue()
        token = hub.lease()["token"]
        hub.advance(MINUTE)
        assert hub.pending() == [task_id]
        if verb == "renew":
            renew(hub, task_id, token=token).of(200)
            assert hub.pending() == []
        hub.result(task_id, token=token, success=True, output=verb).of(200)
        assert hub.get(f"/api/result/{task_id}").of(200) == {"success": True, "output": verb}
        assert hub.pending() == []


def test_a_result_after_poison_still_counts(hub: Hub) -> None:
    task_id = hub.enqueue()
    for _ in range(5):
        token = hub.lease()["token"]
        hub.advance(30_000)
    assert hub.task(task_id)["status"] == "failed"
    hub.result(task_id, token=token, success=True, output="at last").of(200)
    assert hub.get(f"/api/result/{task_id}").of(200) == {"success": True, "output": "at last"}
    assert hub.task(task_id)["status"] == "done"


# ---- the same request again


def test_a_claim_sent_again_gets_the_same_lease(hub: Hub) -> None:
    first, second = hub.enqueue(), hub.enqueue()
    asked = {"workerId": "w", "requestId": "r1"}
    granted = hub.post("/api/queue/claim", asked).of(200)
    hub.clock.advance(500)
    again = hub.post("/api/queue/claim", asked).of(200)
    assert granted["taskId"] == again["taskId"] == first
    assert again["lease"] == {**granted["lease"], "leftSec": 29.5}
    assert hub.pending() == [second]


def test_a_claim_of_several_sent_again_gets_the_same_leases(hub: Hub) -> None:
    for _ in range(5):
        hub.enqueue()
    asked = {"workerId": "w", "requestId": "r1", "max": 3}
    leases = [[(t["task"]["id"], t["lease"]["token"]) for t in hub.claim(**asked)["tasks"]] for _ in range(2)]
    assert leases[0] == leases[1]
    assert len(leases[0]) == 3


def test_the_same_request_of_another_worker_is_another_request(hub: Hub) -> None:
    ids = {hub.enqueue(), hub.enqueue()}
    assert {hub.lease(name, requestId="r1")["taskId"] for name in ("w1", "w2")} == ids


@pytest.mark.parametrize("ended", ["released", "expired", "done", "cancelled"])
def test_a_request_gets_its_lease_only_while_that_is_held(hub: Hub, ended: str) -> None:
    task_id = hub.enqueue()
    lease = hub.lease(requestId="r1")
    if ended == "released":
        release(hub, task_id, token=lease["token"]).of(200)
    elif ended == "expired":
        hub.advance(30_000)
    elif ended == "done":
        hub.result(task_id, token=lease["token"], success=True).of(200)
    else:
        hub.post(f"/api/tasks/{task_id}/cancel").of(200)
    other = hub.enqueue("other", priority="critical")
    assert hub.lease(requestId="r1")["taskId"] == other


# ---- token-aware leases and old clients


@pytest.mark.parametrize(
    "key",
    [
        {"daemonId": "mini"},
        {"requestId": "r1"},
        {"max": 1},
        {"waitSec": 0},
        {"provides": ["machine"]},
        {"onLoss": "requeue"},
    ],
    ids=lambda key: next(iter(key)),
)
def test_a_lease_of_a_token_aware_claim_is_touched_only_with_its_token(hub: Hub, key: dict[str, Any]) -> None:
    task_id = hub.enqueue()
    lease = hub.claim("w", **key)["lease"]
    assert isinstance(lease["token"], int)
    assert renew(hub, task_id, workerId="w").of(403) == {"error": "Invalid lease or not holder"}
    release(hub, task_id, workerId="w").of(403)
    release(hub, task_id).of(403)
    release(hub, task_id, reason="daemon_gone").of(403)
    for body in ({"success": True, "workerId": "w"}, {"success": False}, {"status": "completed"}):
        assert hub.result_of(task_id, body).of(200) == {"success": True, "duplicate": True}
    assert hub.get(f"/api/queue/{task_id}").of(200)["status"] == "claimed"
    renew(hub, task_id, token=lease["token"]).of(200)
    hub.result(task_id, token=lease["token"], success=True, output="ok").of(200)
    assert hub.get(f"/api/result/{task_id}").of(200) == {"success": True, "output": "ok"}


def test_a_token_aware_lease_that_ended_is_not_taken_up_by_name(hub: Hub) -> None:
    task_id = hub.enqueue()
    hub.lease("w")
    hub.advance(30_000)
    renew(hub, task_id, workerId="w").of(403)
    assert hub.result(task_id, success=True, workerId="w").of(200)["duplicate"] is True
    assert hub.pending() == [task_id]


@pytest.mark.parametrize("ended", ["held", "released", "expired"])
@pytest.mark.parametrize("named", [{}, {"workerId": "w"}], ids=["no name", "its name"])
def test_a_result_without_a_token_closes_the_last_attempt_of_the_old_way(hub: Hub, ended: str, named: Any) -> None:
    task_id = hub.enqueue()
    hub.claim("w", leaseDurationSec=5)
    if ended == "released":
        release(hub, task_id, workerId="w").of(200)
    elif ended == "expired":
        hub.advance(5_000)
    assert hub.result(task_id, success=True, output="ok", **named).of(200) == {"success": True}
    task = hub.task(task_id)
    assert task["status"] == "done"
    assert [attempt["outcome"] for attempt in task["attempts"]] == ["done"]
    assert hub.pending() == []


@pytest.mark.parametrize("state", ["never claimed", "held", "expired", "done"])
def test_a_result_without_a_token_of_another_worker_is_only_evidence(hub: Hub, state: str) -> None:
    task_id = hub.enqueue()
    if state != "never claimed":
        hub.claim("w", leaseDurationSec=5)
    if state == "expired":
        hub.advance(5_000)
    if state == "done":
        hub.result(task_id, success=True, output="first").of(200)
    before = hub.task(task_id)["status"]
    answer = hub.result(task_id, success=False, workerId="other", error="no").of(200)
    assert answer == {"success": True, "duplicate": True}
    assert hub.task(task_id)["status"] == before
    if state == "done":
        assert hub.get(f"/api/result/{task_id}").of(200)["output"] == "first"


def test_a_result_for_a_task_that_nobody_claimed_is_only_evidence(hub: Hub) -> None:
    task_id = hub.enqueue()
    assert hub.result(task_id, success=True).of(200)["duplicate"] is True
    assert hub.pending() == [task_id]


def test_a_second_result_never_overwrites_the_first(hub: Hub) -> None:
    for token_aware in (False, True):
        task_id = hub.enqueue()
        lease = hub.lease() if token_aware else hub.claim()["lease"]
        token = {"token": lease["token"]} if token_aware else {}
        assert hub.result(task_id, success=True, output="first", **token).of(200) == {"success": True}
        for success in (True, False):
            again = hub.result(task_id, success=success, output="second", **token).of(200)
            assert again["success"] is True
            assert again["duplicate"] is True
        assert hub.get(f"/api/result/{task_id}").of(200) == {"success": True, "output": "first"}


def test_a_result_for_an_unknown_id_is_not_found(hub: Hub) -> None:
    for body in ({"success": True}, {"token": 5, "success": True}, {"status": "completed"}):
        assert hub.result_of("unknown", body).of(404) == {"error": "Task not found"}


# ---- release without names


@pytest.mark.parametrize("reason", [{}, {"reason": "daemon_gone"}], ids=str)
def test_a_release_without_names_is_for_leases_of_the_old_way(hub: Hub, reason: dict[str, str]) -> None:
    task_id = hub.enqueue()
    hub.claim("w")
    release(hub, task_id, **reason).of(200)
    assert hub.pending() == [task_id]
    hub.lease("w")
    release(hub, task_id, **reason).of(403)
    assert hub.pending() == []


def test_the_last_will_of_a_guard_frees_the_task_at_once(hub: Hub) -> None:
    task_id = hub.enqueue()
    token = hub.lease()["token"]
    release(hub, task_id, token=token, reason="daemon_gone").of(200)
    assert hub.pending() == [task_id]
    task = hub.task(task_id)
    assert task["losses"] == 1
    assert task["attempts"][0]["outcome"] == "lost"


def test_a_beat_that_comes_after_the_last_will_leases_nothing_to_the_dead(hub: Hub) -> None:
    hub.beat(running=[]).of(200)
    task_id = hub.enqueue()
    token = hub.daemon_lease(onLoss="requeue")["token"]
    named = [{"taskId": task_id, "token": token}]
    hub.beat(running=named).of(200)
    release(hub, task_id, token=token, reason="daemon_gone").of(200)
    assert hub.beat(running=named).of(200)["lost"] == [task_id]
    release(hub, task_id, token=token, reason="daemon_gone").of(200)
    assert hub.pending() == [task_id]
    assert hub.task(task_id)["losses"] == 1


def test_a_plain_release_is_no_loss(hub: Hub) -> None:
    task_id = hub.enqueue()
    release(hub, task_id, token=hub.lease()["token"]).of(200)
    task = hub.task(task_id)
    assert task["losses"] == 0
    assert task["attempts"][0]["outcome"] == "released"
